/* One entry of the log (wire/command.h): it comes from the leader, and from the disk. */

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "fuzz.h"
#include "wire/command.h"

static alignas(max_align_t) uint8_t scratch[COMMAND_SCRATCH_BYTES], scratch_again[COMMAND_SCRATCH_BYTES];
static uint8_t bytes[COMMAND_BYTES_MAX], bytes_again[COMMAND_BYTES_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct command was, is;
    size_t len, len_again, counted;
    int r = command_decode(data, size, scratch, sizeof scratch, &was);

    if (r != 0) {
        FUZZ_CHECK(r == -EBADMSG);
        return 0;
    }
    FUZZ_CHECK(command_encode(&was, bytes, sizeof bytes, &len) == 0 && len <= size);
    FUZZ_CHECK(command_encode(&was, NULL, 0, &counted) == 0 && counted == len);
    FUZZ_CHECK(command_encode(&was, bytes_again, len - 1, &counted) == -ENOBUFS);
    FUZZ_CHECK(command_decode(bytes, len, scratch_again, sizeof scratch_again, &is) == 0 && is.type == was.type);
    FUZZ_CHECK(command_encode(&is, bytes_again, sizeof bytes_again, &len_again) == 0);
    FUZZ_CHECK(len == len_again && memcmp(bytes, bytes_again, len) == 0);
    /* Too little memory for the arrays is told, or there was no array. */
    r = command_decode(bytes, len, scratch_again, 0, &is);
    FUZZ_CHECK(r == 0 || r == -ENOBUFS);
    return 0;
}
