/* What a hook's program is told. */

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/hooks.h"
#include "io/child.h"

static const char *variable(const struct hook_text *text, const char *key)
{
    size_t len = strlen(key);

    for (int i = 0; text->env[i] != NULL; i++) {
        if (strncmp(text->env[i], key, len) == 0 && text->env[i][len] == '=') {
            return text->env[i] + len + 1;
        }
    }
    return "(missing)";
}

static struct hook_event event_of(void)
{
    struct hook_event event = {.point = HOOK_AFTER_TAKE, .cause = HOOK_MOVED, .reason = REASON_DRAIN, .moved = 17};

    assert_int_equal(prefix_parse("2001:db8::50/64", &event.address, NULL), 0);
    strcpy(event.name, "web");
    strcpy(event.dev, "eth0");
    strcpy(event.from, "b");
    strcpy(event.to, "a");
    return event;
}

static void the_same_in_both(void **state)
{
    struct hook_event event = event_of();
    struct hook_text text;

    hook_text(&event, "a", "prod", &text);
    assert_string_equal(variable(&text, "VIPD_EVENT"), "after-take");
    assert_string_equal(variable(&text, "VIPD_ADDRESS"), "2001:db8::50");
    assert_string_equal(variable(&text, "VIPD_LENGTH"), "64");
    assert_string_equal(variable(&text, "VIPD_GROUP"), "");
    assert_string_equal(variable(&text, "VIPD_MOVED"), "17");
    assert_int_equal(text.json_len, strlen(text.json));
    assert_string_equal(text.json,
                        "{\"event\": \"after-take\", \"vip\": \"web\", \"address\": \"2001:db8::50\", \"length\": 64, \"dev\": \"eth0\", "
                        "\"group\": null, \"node\": \"a\", \"cluster\": \"prod\", \"reason\": \"drain\", \"from\": \"b\", \"to\": \"a\", "
                        "\"moved\": 17}\n");
}

static void why(void **state)
{
    static const char *const WORDS[] = {[HOOK_MOVED] = "drain", [HOOK_AGAIN] = "again", [HOOK_LEASE] = "lease", [HOOK_FOREIGN] = "foreign"};
    struct hook_event event = event_of();
    struct hook_text text;

    for (int i = 0; i < 4; i++) {
        event.cause = (enum hook_cause)i;
        hook_text(&event, "a", "prod", &text);
        assert_string_equal(variable(&text, "VIPD_REASON"), WORDS[i]);
    }
}

static void an_interface_with_quotes(void **state)
{
    struct hook_event event = event_of();
    struct hook_text text;

    strcpy(event.dev, "a\"b\\c");
    hook_text(&event, "a", "prod", &text);
    assert_string_equal(variable(&text, "VIPD_DEV"), "a\"b\\c");
    assert_non_null(strstr(text.json, "\"dev\": \"a\\\"b\\\\c\","));
}

static void the_longest(void **state)
{
    struct hook_event event = event_of();
    struct hook_text text;
    char node[NAME_SIZE], cluster[NAME_SIZE];

    memset(event.name, 'n', NAME_MAX_LEN);
    memset(event.group, 'g', NAME_MAX_LEN);
    memset(event.from, 'f', NAME_MAX_LEN);
    memset(event.to, 't', NAME_MAX_LEN);
    memset(event.dev, '"', DEV_SIZE - 1);
    memset(node, 'o', sizeof node);
    memset(cluster, 'c', sizeof cluster);
    node[NAME_MAX_LEN] = cluster[NAME_MAX_LEN] = '\0';
    event.moved = UINT64_MAX;
    hook_text(&event, node, cluster, &text);
    assert_string_equal(variable(&text, "VIPD_TO"), event.to);
    assert_string_equal(variable(&text, "VIPD_MOVED"), "18446744073709551615");
    assert_true(text.json_len < CHILD_INPUT_MAX && strcmp(text.json + text.json_len - 2, "}\n") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_in_both),
        cmocka_unit_test(why),
        cmocka_unit_test(an_interface_with_quotes),
        cmocka_unit_test(the_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
