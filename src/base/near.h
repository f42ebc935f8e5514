#ifndef VIPD_BASE_NEAR_H
#define VIPD_BASE_NEAR_H

/* "Did you mean ...?": the name that a mistyped word was probably meant to be. */

#include <stddef.h>

#define NEAR_WORD_MAX 63 /* bytes of the longest word and name that are compared; longer ones are never near */

/* The name nearest to word, case ignored: fewest letters inserted, deleted, replaced or swapped with their neighbour;
 * the first of equals. NULL when none is within a third of the word's length (at least one letter), or the word is
 * empty. Costs n * 64 * 64 steps at most. The result is one of names. */
const char *near_name(const char *word, const char *const names[], size_t n);

#endif
