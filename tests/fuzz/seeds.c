/* Makes the seed corpora of the fuzz targets with the product's own encoders.
 *
 *   fuzz_seeds CORPUS           writes CORPUS/TARGET/seed-NAME
 *   fuzz_seeds --check CORPUS   compares instead: fails when what is encoded now differs from what is kept
 *
 * So a changed format on the wire or on disk shows in tests/run, and has to be meant: its version is raised, and the
 * seeds are written anew. Files under other names (found-*: what a fuzzer found) are left alone. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "seeds.h"

static const char *corpus;
static bool only_check;
static unsigned made, differ;

void seed_need(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "seeds: %s\n", what);
        exit(1);
    }
}

static void write_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "wb");

    seed_need(file != NULL && fwrite(bytes, 1, len, file) == len, path);
    seed_need(fclose(file) == 0, path);
}

static bool is_file(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "rb");
    char *kept = malloc(len + 1);
    bool same = file != NULL && kept != NULL && fread(kept, 1, len + 1, file) == len && memcmp(kept, bytes, len) == 0;

    if (file != NULL) {
        fclose(file);
    }
    free(kept);
    return same;
}

void seed(const char *target, const char *name, const void *bytes, size_t len)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/%s", corpus, target);

    seed_need(n > 0 && (size_t)n < sizeof path - 128 && len > 0, "the path is too long, or the seed is empty");
    if (!only_check) {
        seed_need(mkdir(path, 0777) == 0 || errno == EEXIST, path);
    }
    snprintf(path + n, sizeof path - (size_t)n, "/seed-%s", name);
    made++;
    if (!only_check) {
        write_file(path, bytes, len);
    } else if (!is_file(path, bytes, len)) {
        fprintf(stderr, "%s: is not what is encoded now\n", path);
        differ++;
    }
}

struct prefix seed_prefix(const char *text)
{
    struct prefix prefix;

    seed_need(prefix_parse(text, &prefix, NULL) == 0, text);
    return prefix;
}

struct endpoint seed_endpoint(const char *text)
{
    struct endpoint endpoint;

    seed_need(endpoint_parse(text, &endpoint) == 0, text);
    return endpoint;
}

int main(int argc, char **argv)
{
    only_check = argc == 3 && strcmp(argv[1], "--check") == 0;
    if (argc != 2 && !only_check) {
        fprintf(stderr, "usage: %s [--check] CORPUS\n", argv[0]);
        return 2;
    }
    corpus = argv[argc - 1];
    seeds_log();
    seeds_peers();
    seeds_outside();
    if (differ > 0) {
        fprintf(stderr, "A format has changed. Is its version raised? Then write the seeds anew: %s tests/fuzz/corpus\n",
                argv[0]);
        return 1;
    }
    printf("%u seeds\n", made);
    return 0;
}
