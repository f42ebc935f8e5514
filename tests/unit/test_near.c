/* base/near: what is offered for a mistyped word, and what is not. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/near.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *const KEYS[] = {"cluster", "node", "listen", "data", "key-file", "peers", "interfaces", "control",
    "witness", "timing", "fence", "log"};

static void the_nearest_name_is_found(void **state)
{
    static const struct
    {
        const char *word, *name;
    } cases[] = {
        {"lisen", "listen"},       /* a letter is missing */
        {"listenn", "listen"},     /* one too many */
        {"lasten", "listen"},      /* a wrong one */
        {"litsen", "listen"},      /* two swapped */
        {"Listen", "listen"},      /* case */
        {"TIMING", "timing"},      /* case */
        {"listen", "listen"},      /* itself */
        {"key_file", "key-file"},  /* a wrong separator */
        {"keyfile", "key-file"},
        {"interface", "interfaces"},
        {"peer", "peers"},
        {"nodes", "node"},
        {"dta", "data"},
        {"lgo", "log"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *name = near_name(cases[i].word, KEYS, COUNT(KEYS));

        assert_non_null(name);
        assert_string_equal(name, cases[i].name);
    }
}

static void what_is_far_is_not_offered(void **state)
{
    static const char *const words[] = {"", "x", "xyz", "quorum", "password", "clust-of-nodes"};

    for (size_t i = 0; i < COUNT(words); i++) {
        assert_null(near_name(words[i], KEYS, COUNT(KEYS)));
    }
    assert_null(near_name("listen", KEYS, 0));
}

static void the_first_of_equals_wins(void **state)
{
    static const char *const names[] = {"web-1", "web-2", "web-3"};

    assert_ptr_equal(near_name("web-4", names, COUNT(names)), names[0]);
    assert_ptr_equal(near_name("web-3", names, COUNT(names)), names[2]);
}

static void one_letter_is_not_near_to_another(void **state)
{
    static const char *const names[] = {"a", "ab"};

    assert_null(near_name("c", names, 1));
    assert_ptr_equal(near_name("A", names, COUNT(names)), names[0]);
}

static void long_words_are_left_alone(void **state)
{
    char longest[NEAR_WORD_MAX + 1], longer[4096];
    const char *const names[] = {longest, longer};

    memset(longest, 'n', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    memset(longer, 'n', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_ptr_equal(near_name(longest, names, COUNT(names)), longest);
    assert_null(near_name(longer, names, COUNT(names)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_name_is_found),
        cmocka_unit_test(what_is_far_is_not_offered),
        cmocka_unit_test(the_first_of_equals_wins),
        cmocka_unit_test(one_letter_is_not_near_to_another),
        cmocka_unit_test(long_words_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
