#include "base/near.h"

#include <string.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance, on three rows: two letters swapped count as one mistake, because that is how
 * people mistype. Both lengths are at most NEAR_WORD_MAX. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][NEAR_WORD_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= b_len; j++) {
        above[j] = (unsigned)j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            char x = lower(a[i - 1]), y = lower(b[j - 1]);

            row[j] = least(above[j - 1] + (x != y), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && x == lower(b[j - 2]) && lower(a[i - 2]) == y) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        unsigned *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_len];
}

const char *near_name(const char *word, const char *const names[], size_t n)
{
    size_t len = strnlen(word, NEAR_WORD_MAX + 1);
    unsigned limit = (unsigned)(len + 2) / 3;
    unsigned best_distance = limit + 1;
    const char *best = NULL;

    if (len == 0 || len > NEAR_WORD_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        size_t name_len = strnlen(names[i], NEAR_WORD_MAX + 1);

        if (name_len > NEAR_WORD_MAX || name_len > len + limit || len > name_len + limit) {
            continue;
        }
        unsigned d = distance(word, len, names[i], name_len);
        /* A distance of the whole length shares nothing with the word: "a" is not near to "b". */
        if (d < best_distance && (d == 0 || d < len)) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}
