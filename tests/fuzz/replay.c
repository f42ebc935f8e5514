/* Feeds files to a fuzz target without libFuzzer, so that the corpora run wherever the unit tests do.
 *
 *   fuzz_NAME FILE-OR-DIRECTORY...
 *
 * Each file's name is printed before it is fed: the last one that is seen is the one that failed. */

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned long fed;

static bool fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return false;
}

static bool feed_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(size > 0 ? size : 1);

    if (file == NULL || bytes == NULL || fread(bytes, 1, size, file) != size) {
        fail(path);
        free(bytes);
        if (file != NULL) {
            fclose(file);
        }
        return false;
    }
    fclose(file);
    puts(path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    fed++;
    return true;
}

static bool feed(const char *path);

static bool feed_directory(const char *path)
{
    struct dirent **names;
    int n = scandir(path, &names, NULL, alphasort);
    bool good = n >= 0 || fail(path);

    for (int i = 0; i < n; i++) {
        char inner[4096];

        if (good && names[i]->d_name[0] != '.') {
            int len = snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name);

            good = len > 0 && (size_t)len < sizeof inner && feed(inner);
        }
        free(names[i]);
    }
    if (n >= 0) {
        free(names);
    }
    return good;
}

static bool feed(const char *path)
{
    struct stat stat_of;

    if (stat(path, &stat_of) != 0) {
        return fail(path);
    }
    return S_ISDIR(stat_of.st_mode) ? feed_directory(path) : feed_file(path, (size_t)stat_of.st_size);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!feed(argv[i])) {
            return 1;
        }
    }
    if (fed == 0) {
        fprintf(stderr, "%s: nothing was fed\n", argv[0]);
        return 1;
    }
    printf("%lu inputs\n", fed);
    return 0;
}
