#ifndef VIPD_TESTS_FUZZ_FUZZ_H
#define VIPD_TESTS_FUZZ_FUZZ_H

/* What every fuzz target shares. A target is one file target_NAME.c with the function below; it is linked either with
 * libFuzzer (tests/fuzz/run) or with replay.c, which feeds it the files of corpus/NAME (tests/run). */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What must hold for any bytes at all: a release's assert() would be silent, so this one is its own. */
#define FUZZ_CHECK(what)                                                           \
    do {                                                                           \
        if (!(what)) {                                                             \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                               \
        }                                                                          \
    } while (0)

/* The bytes are in memory of exactly their size, so that a sanitizer sees a read beyond them. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
