/* A node's report of itself (wire/report.h). */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct report was, is;
    static uint8_t bytes[REPORT_BYTES_MAX], bytes_again[REPORT_BYTES_MAX];
    size_t len, len_again;
    int r = report_decode(data, size, &was);

    if (r != 0) {
        FUZZ_CHECK(r == -EBADMSG);
        return 0;
    }
    FUZZ_CHECK(report_encode(&was, FORMAT_LAST, bytes, sizeof bytes, &len) == 0 && len <= size);
    FUZZ_CHECK(report_decode(bytes, len, &is) == 0 && memcmp(&was, &is, sizeof was) == 0);
    FUZZ_CHECK(report_encode(&is, FORMAT_LAST, bytes_again, sizeof bytes_again, &len_again) == 0);
    FUZZ_CHECK(len == len_again && memcmp(bytes, bytes_again, len) == 0);
    FUZZ_CHECK(report_encode(&is, FORMAT_LAST, bytes_again, len - 1, &len_again) == -ENOBUFS);
    return 0;
}
