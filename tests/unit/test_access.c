#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/access.h"

#define CONTROL 70
#define ADMIN 71
#define NONE 0, 0

struct client
{
    uid_t uid;
    gid_t groups[2];
};

static bool in(void *ud, gid_t group)
{
    const struct client *client = ud;

    return client->groups[0] == group || client->groups[1] == group;
}

static bool granted(const struct access *access, struct client client, bool changes)
{
    const char *hint = NULL;
    const char *refusal = access_refusal(access, client.uid, in, &client, changes, &hint);

    assert_int_equal(refusal != NULL, hint != NULL); /* a refusal comes with its remedy */
    return refusal == NULL;
}

static void test_who_may_what(void **state)
{
    static const struct access groups = { .control = CONTROL, .admin = ADMIN };
    static const struct
    {
        struct client client;
        bool reads, changes;
    } cases[] = {
        { { 0, { NONE } }, true, true },
        { { 1000, { NONE } }, false, false },
        { { 1000, { CONTROL, 0 } }, true, false },
        { { 1000, { CONTROL, ADMIN } }, true, true },
        { { 1000, { ADMIN, 0 } }, true, true },
        { { CONTROL, { NONE } }, false, false }, /* a number is a user or a group, not both */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(granted(&groups, cases[i].client, false), cases[i].reads);
        assert_int_equal(granted(&groups, cases[i].client, true), cases[i].changes);
    }
}

static void test_a_group_that_is_not_there_lets_nobody_in(void **state)
{
    static const struct access groups = { .control = ACCESS_NO_GROUP, .admin = ACCESS_NO_GROUP };
    struct client odd = { 1000, { ACCESS_NO_GROUP, ACCESS_NO_GROUP } };

    assert_false(granted(&groups, odd, false));
    assert_true(granted(&groups, (struct client){ 0, { NONE } }, true));
}

static void test_names_and_numbers(void **state)
{
    assert_int_equal(access_group("root"), 0);
    assert_int_equal(access_group("4711"), 4711);
    assert_int_equal(access_group("0"), 0);
    assert_int_equal(access_group("no-such-group-here"), ACCESS_NO_GROUP);
    assert_int_equal(access_group("4294967295"), ACCESS_NO_GROUP);
    assert_int_equal(access_group("99999999999999999999"), ACCESS_NO_GROUP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_may_what),
        cmocka_unit_test(test_a_group_that_is_not_there_lets_nobody_in),
        cmocka_unit_test(test_names_and_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
