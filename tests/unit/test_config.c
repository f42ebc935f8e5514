/* daemon/config: what a good file means, and where and why a wrong one is refused. */

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/api.h"
#include "daemon/config.h"
#include "daemon/config_schema.h"
#include "daemon/document.h"
#include "io/child.h"
#include "io/control.h"
#include "wire/control.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define CLUSTER "cluster: prod\n"                /* line 1 */
#define NODE "node: a\n"                         /* 2 */
#define LISTEN "listen: 10.1.0.1:7400\n"         /* 3 */
#define DATA "data: /var/lib/vipd\n"             /* 4 */
#define HEAD CLUSTER NODE LISTEN DATA
#define PEERS "peers:\n  a: 10.1.0.1:7400\n  b: 10.1.0.2:7400\n" /* 5 to 7 */
#define GOOD HEAD PEERS                          /* a further key is line 8 */

#define X10 "xxxxxxxxxx"
#define X60 X10 X10 X10 X10 X10 X10

struct wrong
{
    const char *text;
    int line, column;
    const char *message; /* a part of it */
};

static const struct wrong WRONG[] = {
    /* The file as a whole */
    {"", 1, 1, "expected keys and values, like 'cluster: prod', found nothing"},
    {"# only a comment\n", 1, 1, "found nothing"},
    {"hello\n", 1, 1, "found a value"},
    {"- a\n- b\n", 1, 1, "found a list"},
    {"{}\n", 1, 1, "key 'cluster' is missing: expected a name, the cluster's name"},

    /* YAML that is none, or more than the subset */
    {"cluster: \"prod\nnode: a\n", 3, 1, "not valid YAML"},
    {"cluster: prod\n\tnode: a\n", 2, 1, "tab character"},
    {"cluster: prod: x\n", 1, 14, "not valid YAML: mapping values are not allowed in this context"},
    {"cluster: pr\xff" "od\n", 1, 12, "invalid leading UTF-8 octet"},
    {"cluster: \"a\x01\"\n", 1, 12, "control characters are not allowed"},
    {"cluster: \"a\\0b\"\n", 1, 10, "a control character or a line break"},
    {"cluster: \"a\\u0085b\"\n", 1, 10, "a control character or a line break"},
    {"cluster: \"a\\x7fb\"\n", 1, 10, "a control character or a line break"},
    {"cluster: \"a\\u2028b\"\n", 1, 10, "a control character or a line break"},
    {"cluster: |\n  a\n  b\n", 1, 10, "a control character or a line break"},
    {"cluster: &x prod\n", 1, 10, "anchors (&x) are not supported"},
    {"cluster: *x\n", 1, 10, "aliases (*x) are not supported"},
    {"cluster: !!str prod\n", 1, 10, "tags (tag:yaml.org,2002:str) are not supported"},
    {"peers: &p\n  a: 10.1.0.1:7400\n", 1, 8, "anchors (&p) are not supported"},
    {"peers: !m\n  a: 10.1.0.1:7400\n", 1, 8, "tags (!m) are not supported"},
    {"interfaces: &i [eth0]\n", 1, 13, "anchors (&i) are not supported"},
    {"%TAG !e! tag:example.com:\n---\ncluster: prod\n", 1, 1, "tags (%TAG) are not supported"},
    {GOOD "---\ncluster: other\n", 8, 1, "a second document"},
    {GOOD "<<: {witness: true}\n", 8, 1, "'<<' is not a key"},
    {"? [a]\n: b\n", 1, 3, "expected a key, found a list"},
    {"? {a: b}\n: b\n", 1, 3, "expected a key, found a map"},
    {GOOD "node: b\n", 8, 1, "duplicate key 'node', first given in line 2"},
    {HEAD "peers:\n  a: 10.1.0.1:7400\n  \"a\": 10.1.0.2:7400\n", 7, 3, "duplicate key 'a', first given in line 6"},
    {"join: [[[[[[[[a]]]]]]]]\n", 1, 14, "more than 8 maps and lists within each other"},

    /* Keys */
    {CLUSTER NODE "lisen: 10.1.0.1:7400\n", 3, 1, "'lisen' is not a key: expected one of cluster, node, listen, data, "
        "key-file, peers, interfaces, control, control-group, admin-group, checks-dir, hooks-dir, witness, timing, fence, log, join; did you mean 'listen'?"},
    {GOOD "key_file: /etc/vipd/key\n", 8, 1, "did you mean 'key-file'?"},
    {GOOD "Witness: true\n", 8, 1, "did you mean 'witness'?"},
    {GOOD "quorum: 2\n", 8, 1, "'quorum' is not a key: expected one of"},
    {GOOD "join: 10.1.0.2:7400\n", 8, 7, "'join' is a value: expected a list of members' ADDRESS:PORT"},
    {GOOD "join: [10.1.0.2:7400]\n", 8, 7, "'join' and 'peers': expected one of them"},
    {GOOD "join: []\n", 8, 7, "0 addresses: expected those of 1 to 16 members"},
    {GOOD "join: [10.1.0.2]\n", 8, 8, "'10.1.0.2' lacks a port"},
    {GOOD "join: [[a]]\n", 8, 8, "expected a member's ADDRESS:PORT, found a list"},
    {NODE LISTEN DATA PEERS, 1, 1, "key 'cluster' is missing: expected a name, the cluster's name"},
    {CLUSTER LISTEN DATA PEERS, 1, 1, "key 'node' is missing: expected a name, this node's name"},
    {CLUSTER NODE DATA PEERS, 1, 1, "key 'listen' is missing: expected ADDRESS:PORT"},
    {CLUSTER NODE LISTEN PEERS, 1, 1, "key 'data' is missing: expected an absolute path"},
    {"# comment\n\n" HEAD, 3, 1, "key 'peers' is missing: expected a map"},
    {"cluster:\n", 1, 1, "'cluster' has no value: expected a name"},
    {"cluster: ~\n", 1, 1, "'cluster' has no value"},
    {"cluster: null\n", 1, 1, "'cluster' has no value"},

    /* Names */
    {"cluster: \"\"\n", 1, 10, "'' is not a name: expected 1 to 63 letters, digits"},
    {"cluster: -prod\n", 1, 10, "'-prod' is not a name"},
    {"cluster: pr od\n", 1, 10, "'pr od' is not a name"},
    {"cluster: prod\xc3\xa9\n", 1, 10, "is not a name"},
    {"cluster: a/b\n", 1, 10, "'a/b' is not a name"},
    {"cluster: " X60 "1234\n", 1, 10, "is not a name: expected 1 to 63"},
    {"cluster: [prod]\n", 1, 10, "'cluster' is a list: expected a name"},
    {CLUSTER "node: {a: b}\n", 2, 7, "'node' is a map: expected a name"},

    /* Endpoints */
    {"listen: 10.1.0.1\n", 1, 9, "'10.1.0.1' lacks a port: expected 10.1.0.1:PORT"},
    {"listen: 2001:db8::1\n", 1, 9, "'2001:db8::1' lacks a port: expected \"[2001:db8::1]:PORT\""},
    {"listen: [2001:db8::1]:7400\n", 1, 22, "an IPv6 endpoint needs quotes: \"[2001:db8::1]:7400\""},
    {"listen: [10.1.0.1]\n", 1, 9, "'listen' is a list: expected ADDRESS:PORT"},
    {"listen: 10.1.0.1:0\n", 1, 9, "'10.1.0.1:0' is not an endpoint"},
    {"listen: 10.1.0.1:65536\n", 1, 9, "is not an endpoint"},
    {"listen: 10.1.0.256:7400\n", 1, 9, "is not an endpoint"},
    {"listen: host-a:7400\n", 1, 9, "'host-a:7400' is not an endpoint: expected ADDRESS:PORT"},
    {"listen: 0.0.0.0:7400\n", 1, 9, "is not an address that other nodes can reach"},
    {"listen: \"[::]:7400\"\n", 1, 9, "is not an address that other nodes can reach"},
    {"listen: \"[fe80::1]:7400\"\n", 1, 9, "nor link-local"},
    {"listen: 224.0.0.18:7400\n", 1, 9, "is not an address that other nodes can reach"},

    /* Paths */
    {"data: var/lib\n", 1, 7, "'var/lib' is not an absolute path"},
    {"data: \"\"\n", 1, 7, "'' is not an absolute path"},
    {"control: run.sock\n", 1, 10, "is not an absolute path"},
    {"control: /" X60 X10 X10 X10 X10 "1234567\n", 1, 10, "a path of 108 bytes: expected at most 107"},
    {"key-file: cluster.key\n", 1, 11, "is not an absolute path"},
    {"key-file: /proc/self/no-such-key\n", 1, 11, "key file /proc/self/no-such-key does not exist; make it on one node "
        "with vipctl keygen"},
    {"key-file: /\n", 1, 11, "key file / is not a file"},

    /* Peers */
    {HEAD "peers: [a, b]\n", 5, 8, "'peers' is a list: expected a map of node names to ADDRESS:PORT"},
    {HEAD "peers: {}\n", 5, 8, "no peers: expected the founding nodes"},
    {HEAD "peers:\n  a b: 10.1.0.1:7400\n", 6, 3, "'a b' is not a name"},
    {HEAD "peers:\n  a: {at: 10.1.0.1:7400}\n", 6, 6, "expected the endpoint of node 'a', found a map"},
    {HEAD "peers:\n  a:\n", 6, 5, "'' is not an endpoint"},
    {HEAD "peers:\n  a: 10.1.0.1\n", 6, 6, "'10.1.0.1' lacks a port"},
    {HEAD "peers: {a: [::1]:7400}\n", 5, 13, "an IPv6 endpoint needs quotes"},
    {HEAD "peers: {a: \"[::1]:7400\", b: [::2]:7400}\n", 5, 30, "an IPv6 endpoint needs quotes"},
    {HEAD "peers:\n  a: 10.1.0.1:7400\n  b: 10.1.0.1:7400\n", 7, 6, "nodes 'a' and 'b' have the same endpoint "
        "10.1.0.1:7400"},
    {HEAD "peers:\n  a: 10.1.0.1:7400\n  b: \"[::ffff:10.1.0.1]:7400\"\n", 7, 6, "have the same endpoint"},
    {CLUSTER "node: web-2\n" LISTEN DATA "peers:\n  web-1: 10.1.0.1:7400\n  web-3: 10.1.0.3:7400\n", 2, 7,
        "'web-2' is not one of peers: expected one of web-1, web-3; did you mean 'web-1'?"},
    {CLUSTER NODE "listen: 10.1.0.1:7401\n" DATA PEERS, 3, 9, "this node listens on 10.1.0.1:7401, but peers has 'a' at "
        "10.1.0.1:7400: expected the same"},

    /* Interfaces */
    {"interfaces: eth0\n", 1, 13, "'interfaces' is a value: expected a list, like [eth0, eth1]"},
    {"interfaces: []\n", 1, 13, "an empty list: leave the key out"},
    {"interfaces: [eth0, [eth1]]\n", 1, 20, "expected an interface's name, found a list"},
    {"interfaces: [eth0, eth0]\n", 1, 20, "interface 'eth0' is listed twice"},
    {"interfaces:\n  - eth0\n  - a/b\n", 3, 5, "'a/b' is not an interface's name"},
    {"interfaces: [\"\"]\n", 1, 14, "'' is not an interface's name: expected 1 to 15 bytes"},
    {"interfaces: [abcdefghijklmnop]\n", 1, 14, "is not an interface's name"},
    {"interfaces: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q]\n", 1, 13, "17 interfaces: expected at most 16"},

    /* Words */
    {"witness: yes\n", 1, 10, "expected true or false, found 'yes'"},
    {"witness: \"true\"\n", 1, 10, "expected true or false, found 'true' in quotes"},
    {"witness: 1\n", 1, 10, "expected true or false, found '1'"},
    {"fence: kernl\n", 1, 8, "'kernl' is not a fence: expected one of kernel, addresses; did you mean 'kernel'?"},
    {"fence: none\n", 1, 8, "'none' is not a fence: expected one of kernel, addresses"},
    {"log: warning\n", 1, 6, "'warning' is not a log level: expected one of error, warn, note, info, trace"},

    /* Timing */
    {"timing: quick\n", 1, 9, "'quick' is not a timing profile: expected one of fast, default, wan"},
    {"timing: defualt\n", 1, 9, "did you mean 'default'?"},
    {"timing: [fast]\n", 1, 9, "'timing' is a list: expected fast, default, wan or a map of durations"},
    {"timing: {intervall: 1s}\n", 1, 10, "'intervall' is not a key: expected one of interval, suspect, promise, margin, "
        "election; did you mean 'interval'?"},
    {"timing: {interval: 100}\n", 1, 20, "'100' lacks a unit: did you mean 100ms?"},
    {"timing: {interval: 100us}\n", 1, 20, "'100us' is not a duration: expected a whole number and a unit (ms, s, m)"},
    {"timing: {interval: 0.1s}\n", 1, 20, "'0.1s' is not a duration"},
    {"timing: {interval: -1s}\n", 1, 20, "'-1s' is not a duration"},
    {"timing: {interval: ms}\n", 1, 20, "'ms' is not a duration"},
    {"timing: {interval: 100 ms}\n", 1, 20, "'100 ms' is not a duration"},
    {"timing: {interval: [1s]}\n", 1, 20, "'interval' is a list: expected a duration"},
    {"timing: {interval: }\n", 1, 10, "'interval' has no value"},
    {"timing: {election: 11m}\n", 1, 20, "11m is too long: expected at most 10m"},
    {"timing: {election: 99999999999999999999ms}\n", 1, 20, "is too long"},
    {"timing: {interval: 4ms}\n", 1, 20, "interval is 4ms: expected 5ms to 60000ms"},
    {"timing: {interval: 61s}\n", 1, 20, "interval is 61000ms: expected 5ms to 60000ms"},
    {"timing: {interval: 100ms, suspect: 199ms}\n", 1, 36, "suspect is 199ms: expected at least 2 intervals (200ms)"},
    {"timing: {interval: 1s}\n", 1, 9, "suspect is 400ms: expected at least 2 intervals (2000ms)"},
    {"timing: {promise: 499ms}\n", 1, 19, "promise is 499ms: expected at least suspect + interval (500ms)"},
    {"timing: {margin: 0ms}\n", 1, 18, "margin is 0ms: expected at least 1ms and less than half of promise (515ms)"},
    {"timing: {margin: 258ms}\n", 1, 18, "less than half of promise (515ms)"},
    {"timing:\n  promise: 600ms\n  margin: 300ms\n", 3, 11, "less than half of promise (600ms)"},
    {"timing: {election: 400ms}\n", 1, 20, "election is 400ms: expected more than suspect (400ms)"},
};

static int parse(const char *text, struct config *ret, char error[CONFIG_ERROR_SIZE])
{
    return config_parse("f.yaml", text, strlen(text), ret, error);
}

static void a_wrong_file_is_refused_at_its_place(void **state)
{
    int failures = 0;

    for (size_t i = 0; i < COUNT(WRONG); i++) {
        const struct wrong *wrong = &WRONG[i];
        char error[CONFIG_ERROR_SIZE] = "", place[64];
        struct config config = {.n_peers = -7};
        int rv = parse(wrong->text, &config, error);

        snprintf(place, sizeof(place), "f.yaml:%d:%d: ", wrong->line, wrong->column);
        if (rv >= 0 || config.n_peers != -7 || strncmp(error, place, strlen(place)) != 0 ||
            strstr(error, wrong->message) == NULL) {
            print_error("%s: %d '%s'\n  expected '%s... %s'\n", wrong->text, rv, error, place, wrong->message);
            failures++;
        }
    }
    assert_int_equal(failures, 0);
}

static void assert_good(const char *text, struct config *ret)
{
    char error[CONFIG_ERROR_SIZE] = "";

    if (parse(text, ret, error) != 0) {
        fail_msg("refused: %s", error);
    }
}

static void assert_endpoint(const struct endpoint *endpoint, const char *expected)
{
    char text[ENDPOINT_TEXT_MAX];

    assert_string_equal(endpoint_format(endpoint, text), expected);
}

static void what_is_left_out_has_its_default(void **state)
{
    struct config config;

    assert_good(GOOD, &config);
    assert_string_equal(config.cluster, "prod");
    assert_string_equal(config.node, "a");
    assert_endpoint(&config.listen, "10.1.0.1:7400");
    assert_string_equal(config.data, "/var/lib/vipd");
    assert_string_equal(config.key_file, "");
    assert_int_equal(config.keys.n, 0);
    assert_int_equal(config.n_peers, 2);
    assert_int_equal(config.n_interfaces, 0);
    assert_string_equal(config.control, "/run/vipd/control.sock");
    assert_false(config.witness);
    assert_memory_equal(&config.timing, config_profile("default"), sizeof(config.timing));
    assert_int_equal(config.fence, CONFIG_FENCE_KERNEL);
    assert_int_equal(config.log, LOG_NOTE);
}

static char folder[] = "/tmp/vipd-test-config-XXXXXX";
static char key_path[sizeof(folder) + 16];

static int make_folder(void **state)
{
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    snprintf(key_path, sizeof(key_path), "%s/key", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)unlink(key_path);
    return rmdir(folder);
}

static void write_key(const char *text, mode_t mode)
{
    FILE *file = fopen(key_path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(key_path, mode), 0);
}

#define HEX16 "0123456789abcdef0123456789ABCDEF"
#define HEX HEX16 HEX16
#define OTHER "00000000000000000000000000000000" HEX16

static void every_key_reaches_its_field(void **state)
{
    static const uint8_t bytes[] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    struct config config;
    char text[2048];

    write_key(HEX "\n", 0600);
    snprintf(text, sizeof(text),
        "%%YAML 1.1\n---\n"
        "log: trace\nfence: addresses\nwitness: true\ncontrol: \"/tmp/c.sock\"\n"
        "control-group: adm\nadmin-group: 4711\n"
        "timing: {interval: 1s, suspect: 2000ms, promise: 1m, margin: 29s, election: 10m}\n"
        "interfaces:\n- eth0\n- bond0.100\n"
        "key-file: %s\n"
        "peers: {c: \"[2001:db8::3]:7403\", a: '[2001:DB8:0::1]:7400', B.x_1: 10.1.0.2:1}\n"
        "data: /srv/v\nlisten: \"[2001:db8::1]:7400\"\nnode: a\ncluster: '9'\n...\n",
        key_path);
    assert_good(text, &config);
    assert_string_equal(config.cluster, "9");
    assert_endpoint(&config.listen, "[2001:db8::1]:7400");
    assert_string_equal(config.data, "/srv/v");
    assert_string_equal(config.key_file, key_path);
    assert_int_equal(config.keys.n, 1);
    for (size_t i = 0; i < CONFIG_KEY_SIZE; i++) {
        assert_int_equal(config.keys.key[0][i], bytes[i % COUNT(bytes)]);
    }
    assert_int_equal(config.n_peers, 3); /* sorted */
    assert_string_equal(config.peers[0].name, "B.x_1");
    assert_endpoint(&config.peers[0].at, "10.1.0.2:1");
    assert_string_equal(config.peers[1].name, "a");
    assert_endpoint(&config.peers[1].at, "[2001:db8::1]:7400");
    assert_string_equal(config.peers[2].name, "c");
    assert_int_equal(config.n_interfaces, 2);
    assert_string_equal(config.interfaces[0], "eth0");
    assert_string_equal(config.interfaces[1], "bond0.100");
    assert_string_equal(config.control, "/tmp/c.sock");
    assert_string_equal(config.control_group, "adm");
    assert_string_equal(config.admin_group, "4711");
    assert_true(config.witness);
    assert_int_equal(config.timing.interval_ms, 1000);
    assert_int_equal(config.timing.suspect_ms, 2000);
    assert_int_equal(config.timing.promise_ms, 60000);
    assert_int_equal(config.timing.margin_ms, 29000);
    assert_int_equal(config.timing.election_ms, 600000);
    assert_int_equal(config.fence, CONFIG_FENCE_ADDRESSES);
    assert_int_equal(config.log, LOG_TRACE);
}

static void a_key_that_others_can_read_is_refused_with_the_remedy(void **state)
{
    static const struct
    {
        const char *text;
        mode_t mode;
        const char *message; /* NULL: good */
    } cases[] = {
        {HEX "\n", 0600, NULL},
        {HEX, 0400, NULL},
        {HEX, 0640, "has mode 0640: others can read it; run: chmod 600 /"},
        {HEX, 0604, "run: chmod 600 /"},
        {HEX, 0610, "run: chmod 600 /"},
        {"", 0600, "does not hold a key: expected 64 hexadecimal digits, as vipctl keygen writes them"},
        {HEX16, 0600, "does not hold a key"},
        {HEX "\n\n", 0600, "does not hold a key"},
        {HEX "0", 0600, "does not hold a key"},
        {HEX HEX HEX, 0600, "does not hold a key"},
        {HEX16 "0123456789abcdefghijklmnopqrstuv", 0600, "does not hold a key"},
        {HEX "\n" OTHER "\n", 0600, NULL},
        {HEX "\n" OTHER, 0600, NULL},
        {HEX OTHER, 0600, "does not hold a key"},
        {HEX "\n\n" OTHER, 0600, "does not hold a key"},
        {HEX "\n" HEX16, 0600, "does not hold a key"},
        {HEX "\n" OTHER "\n\n", 0600, "does not hold a key"},
        {HEX "\n" OTHER "\n" HEX "\n", 0600, "does not hold a key"},
        {HEX "\n" HEX "\n", 0600, "holds the same key twice"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[512], error[CONFIG_ERROR_SIZE] = "";
        struct config config;
        int rv;

        write_key(cases[i].text, cases[i].mode);
        snprintf(text, sizeof(text), GOOD "key-file: %s\n", key_path);
        rv = parse(text, &config, error);
        if (cases[i].message == NULL) {
            assert_int_equal(rv, 0);
            assert_int_equal(config.keys.n, 1 + (strlen(cases[i].text) > 70));
            continue;
        }
        assert_int_equal(rv, -EINVAL);
        assert_ptr_equal(strstr(error, "f.yaml:8:11: key file /"), error);
        assert_non_null(strstr(error, cases[i].message));
        assert_null(strstr(error, HEX16)); /* a key is never shown */
    }
}

static void a_missing_or_unreadable_file_is_named(void **state)
{
    char error[CONFIG_ERROR_SIZE] = "";
    struct config config;

    assert_int_equal(config_load("/proc/self/no-such-file", &config, error), -ENOENT);
    assert_string_equal(error, "cannot read /proc/self/no-such-file: No such file or directory");
    assert_int_equal(config_load(folder, &config, error), -EISDIR);
    assert_non_null(strstr(error, "Is a directory"));
}

static void sizes_have_limits(void **state)
{
    static char text[DOCUMENT_SIZE_MAX + 2];
    char error[CONFIG_ERROR_SIZE] = "";
    struct config config;
    size_t at;

    memset(text, '#', sizeof(text) - 1);
    assert_int_equal(config_parse("f.yaml", text, DOCUMENT_SIZE_MAX, &config, error), -EINVAL); /* one comment */
    assert_int_equal(config_parse("f.yaml", text, DOCUMENT_SIZE_MAX + 1, &config, error), -EFBIG);
    assert_string_equal(error, "f.yaml:1:1: larger than 1048576 bytes");

    memset(text, '[', sizeof(text) - 1);
    assert_int_equal(config_parse("f.yaml", text, DOCUMENT_SIZE_MAX, &config, error), -EFBIG);
    assert_non_null(strstr(error, "f.yaml:1:9: more than 8 maps and lists"));

    at = (size_t)sprintf(text, "interfaces:\n");
    for (int i = 0; i < DOCUMENT_NODES_MAX; i++) {
        at += (size_t)sprintf(text + at, i == 0 ? "- [a" : ",a");
    }
    assert_int_equal(config_parse("f.yaml", text, at, &config, error), -EFBIG);
    assert_non_null(strstr(error, "more than 262144 keys and values"));

    at = (size_t)sprintf(text, "data: /");
    memset(text + at, 'x', DOCUMENT_TEXT_MAX);
    assert_int_equal(config_parse("f.yaml", text, at + DOCUMENT_TEXT_MAX, &config, error), -EFBIG);
    assert_non_null(strstr(error, "f.yaml:1:7: text longer than 4095 bytes"));
    assert_int_equal(config_parse("f.yaml", text, at + CONFIG_PATH_MAX, &config, error), -EINVAL);
    assert_non_null(strstr(error, "a path of 1024 bytes: expected at most 1023"));
}

static void as_many_peers_as_nodes_and_not_one_more(void **state)
{
    for (int n = NODES_MAX; n <= NODES_MAX + 1; n++) {
        char text[8192], error[CONFIG_ERROR_SIZE] = "";
        struct config config;
        size_t at = (size_t)sprintf(text, HEAD "peers:\n  a: 10.1.0.1:7400\n");

        for (int i = 1; i < n; i++) {
            at += (size_t)sprintf(text + at, "  n%d: 10.1.1.%d:7400\n", i, i);
        }
        if (n == NODES_MAX) {
            assert_int_equal(parse(text, &config, error), 0);
            assert_int_equal(config.n_peers, NODES_MAX);
        } else {
            assert_int_equal(parse(text, &config, error), -EINVAL);
            assert_string_equal(error, "f.yaml:6:3: 65 peers: expected at most 64");
        }
    }
}

static void a_long_file_name_leaves_room_for_the_message(void **state)
{
    char name[PATH_MAX], error[CONFIG_ERROR_SIZE] = "";
    struct config config;

    memset(name, 'd', sizeof(name));
    strcpy(name + sizeof(name) - sizeof("/vipd.yaml"), "/vipd.yaml");
    assert_int_equal(config_parse(name, "nodee: a\n", 9, &config, error), -EINVAL);
    assert_memory_equal(error, "...dddd", 7);
    assert_non_null(strstr(error, "/vipd.yaml:1:1: 'nodee' is not a key"));
}

static void profiles_keep_the_rules_and_their_leases(void **state)
{
    static const struct
    {
        const char *name;
        double lease_min_ms, lease_max_ms;
    } profiles[] = {{"fast", 110, 130}, {"default", 495, 505}, {"wan", 2800, 3000}};

    assert_null(config_profile("other"));
    for (size_t i = 0; i < COUNT(profiles); i++) {
        const struct timing *t = config_profile(profiles[i].name);
        struct config named, written;
        char text[512];

        assert_non_null(t);
        double lease_ms = t->promise_ms * 0.99 / 1.01 - t->margin_ms;
        assert_true(lease_ms > profiles[i].lease_min_ms && lease_ms < profiles[i].lease_max_ms);
        snprintf(text, sizeof(text), GOOD "timing: %s\n", profiles[i].name);
        assert_good(text, &named);
        snprintf(text, sizeof(text),
            GOOD "timing: {interval: %ums, suspect: %ums, promise: %ums, margin: %ums, election: %ums}\n",
            t->interval_ms, t->suspect_ms, t->promise_ms, t->margin_ms, t->election_ms);
        assert_good(text, &written); /* so the profile itself keeps the rules */
        assert_memory_equal(&named.timing, &written.timing, sizeof(named.timing));
    }
}

static void a_timing_map_fills_up_from_the_default(void **state)
{
    struct config config;
    struct timing expected = *config_profile("default");

    expected.election_ms = 2000;
    assert_good(GOOD "timing:\n  election: 2s\n", &config);
    assert_memory_equal(&config.timing, &expected, sizeof(expected));
}

static uint64_t digest_of(const char *text)
{
    struct config config;

    assert_good(text, &config);
    return config_founding_digest(&config);
}

static void the_founding_digest_covers_what_founders_must_agree_on(void **state)
{
    uint64_t digest = digest_of(GOOD);

    /* The same cluster from another node's file, in another order and notation */
    assert_int_equal(digest, digest_of("peers: {b: 10.1.0.2:7400, a: \"[::ffff:10.1.0.1]:7400\"}\ncluster: prod\nnode: b\n"
                                       "listen: 10.1.0.2:7400\ndata: /other\nwitness: true\nlog: trace\n"
                                       "timing: {interval: 100ms}\ninterfaces: [eth1]\n"));
    assert_int_not_equal(digest, digest_of("cluster: prod2\n" NODE LISTEN DATA PEERS));
    assert_int_not_equal(digest, digest_of(GOOD "  c: 10.1.0.3:7400\n"));
    assert_int_not_equal(digest, digest_of(HEAD "peers:\n  a: 10.1.0.1:7400\n  b: 10.1.0.2:7401\n"));
    assert_int_not_equal(digest, digest_of(HEAD "peers:\n  a: 10.1.0.1:7400\n  c: 10.1.0.2:7400\n"));
    assert_int_not_equal(digest, digest_of(GOOD "timing: fast\n"));
    assert_int_not_equal(digest, digest_of(GOOD "timing: {interval: 99ms}\n"));
    assert_int_not_equal(digest, digest_of(GOOD "timing: {suspect: 401ms}\n"));
    assert_int_not_equal(digest, digest_of(GOOD "timing: {promise: 516ms}\n"));
    assert_int_not_equal(digest, digest_of(GOOD "timing: {margin: 6ms}\n"));
    assert_int_not_equal(digest, digest_of(GOOD "timing: {election: 601ms}\n"));
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Cut, overwrite, insert and repeat; the new size. */
static size_t mutate(char *text, size_t size, size_t room, uint32_t *seed)
{
    static const char odd[] = "\0\t\n\r :-,#&*!|>'\"%@`[]{}?~\\\x7f\x80\xc2\xe2\xff" "09azAZ._/";

    for (uint32_t n = next_random(seed) % 6 + 1; n > 0 && size > 0; n--) {
        size_t at = next_random(seed) % size, len = next_random(seed) % 24 + 1;

        switch (next_random(seed) % 4) {
        case 0:
            text[at] = odd[next_random(seed) % (sizeof(odd) - 1)];
            break;
        case 1:
            len = len < size - at ? len : size - at;
            memmove(text + at, text + at + len, size - at - len);
            size -= len;
            break;
        case 2:
            if (size < room) {
                memmove(text + at + 1, text + at, size - at);
                text[at] = odd[next_random(seed) % (sizeof(odd) - 1)];
                size++;
            }
            break;
        default:
            len = len < size - at ? len : size - at;
            if (size + len <= room) {
                memmove(text + at + len, text + at, size - at);
                size += len;
            }
            break;
        }
    }
    return size;
}

/* Whatever the bytes: an answer, a place for every refusal, and a configuration within its limits. */
static void no_bytes_break_it(void **state)
{
    static const char start[] = GOOD
        "interfaces: [eth0, \"eth1\"]\ncontrol: /run/vipd/control.sock\nwitness: false # or true\n"
        "timing: {interval: 100ms, suspect: 1s}\nfence: kernel\nlog: info\n";
    uint32_t seed = 20240917;
    int good = 0;

    for (int i = 0; i < 10000; i++) {
        char text[1024], error[CONFIG_ERROR_SIZE];
        struct config config;
        size_t size;

        memcpy(text, start, sizeof(start) - 1);
        size = mutate(text, sizeof(start) - 1, sizeof(text), &seed);
        memset(error, 'E', sizeof(error));
        if (config_parse("f.yaml", text, size, &config, error) == 0) {
            good++;
            assert_in_range(config.n_peers, 1, NODES_MAX);
            assert_in_range(config.n_interfaces, 0, LINKS_MAX);
            assert_in_range(strlen(config.cluster), 1, NAME_MAX_LEN);
            assert_true(config.timing.promise_ms >= config.timing.suspect_ms + config.timing.interval_ms);
            continue;
        }
        assert_non_null(memchr(error, '\0', sizeof(error)));
        int line = 0, column = 0;
        assert_int_equal(sscanf(error, "f.yaml:%d:%d: ", &line, &column), 2);
        assert_true(line >= 1 && column >= 1);
    }
    assert_in_range(good, 1, 9999); /* it tried both sides */
}

static char *read_text(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "re");
    size_t n;

    assert_non_null(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

static void the_example_is_good_and_complete(void **state)
{
    struct config config;
    static const char path[] = "/etc/vipd/cluster.key"; /* not on this host */
    char error[CONFIG_ERROR_SIZE] = "", key[64], here[16384];
    const char *text = read_text("docs/vipd.yaml.example");
    const char *at = strstr(text, path);

    assert_non_null(at);
    write_key(HEX "\n", 0600);
    snprintf(here, sizeof(here), "%.*s%s%s", (int)(at - text), text, key_path, at + strlen(path));
    if (parse(here, &config, error) != 0) {
        fail_msg("%s", error);
    }
    assert_int_equal(config.n_peers, 3);
    assert_int_equal(config.keys.n, 1);
    for (int i = 0; i < CONFIG_KEYS_N; i++) {
        snprintf(key, sizeof(key), "%s:", CONFIG_KEYS[i].name);
        assert_non_null(strstr(text, key));
    }
    for (int i = 0; i < CONFIG_TIMING_KEYS_N; i++) {
        assert_non_null(strstr(text, CONFIG_TIMING_KEYS[i].name));
    }
}

static void the_manual_has_every_key(void **state)
{
    const char *text = read_text("docs/configuration.md");
    char heading[64];

    for (int i = 0; i < CONFIG_KEYS_N; i++) {
        snprintf(heading, sizeof(heading), "### `%s`", CONFIG_KEYS[i].name);
        assert_non_null(strstr(text, heading));
    }
    for (int i = 0; i < CONFIG_TIMING_KEYS_N; i++) {
        snprintf(heading, sizeof(heading), "| `%s` |", CONFIG_TIMING_KEYS[i].name);
        assert_non_null(strstr(text, heading));
    }
}

/* A limit that changes in the code and not for users would be found out by users. */
static void the_page_of_limits_tells_the_truth(void **state)
{
#define LIMIT(name) {#name, name}
    static const struct
    {
        const char *name;
        long value;
    } limits[] = {LIMIT(NAME_MAX_LEN), LIMIT(NODES_MAX), LIMIT(VOTERS_MAX), LIMIT(VIPS_MAX), LIMIT(GROUPS_MAX), LIMIT(CHECKS_MAX),
        LIMIT(CHECK_TARGET_MAX_LEN), LIMIT(CHILD_OUTPUT_MAX), LIMIT(CHILD_OUTPUT_KEPT),
        LIMIT(PREFERS_MAX), LIMIT(APART_MAX), LIMIT(LINKS_MAX), LIMIT(LINK_PREFIXES_MAX), LIMIT(HISTORY_MAX),
        LIMIT(DEDUP_MAX), LIMIT(KEPT_MAX), LIMIT(KEPT_BYTES_MAX), LIMIT(CONFLICTS_MAX), LIMIT(DOCUMENT_SIZE_MAX), LIMIT(DOCUMENT_DEPTH_MAX), LIMIT(DOCUMENT_NODES_MAX),
        LIMIT(DOCUMENT_TEXT_MAX), LIMIT(CONFIG_PATH_MAX), LIMIT(CONTROL_CLIENTS_MAX), LIMIT(CONTROL_REQUEST_MAX),
        LIMIT(CONTROL_REPLY_MAX), LIMIT(API_VIPS_MAX), LIMIT(API_ROWS_MAX), LIMIT(MAINTENANCE_WORDS_MAX), LIMIT(MAINTENANCE_TAIL_SIZE),
        LIMIT(MAINTENANCE_TIME_MAX_MS)};
    const char *text = read_text("docs/limits.md");
    char row[96];

    for (size_t i = 0; i < COUNT(limits); i++) {
        snprintf(row, sizeof(row), "| %ld | `%s` |", limits[i].value, limits[i].name);
        if (strstr(text, row) == NULL) {
            fail_msg("docs/limits.md has no '%s'", row);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_file_is_refused_at_its_place),
        cmocka_unit_test(what_is_left_out_has_its_default),
        cmocka_unit_test(every_key_reaches_its_field),
        cmocka_unit_test(a_key_that_others_can_read_is_refused_with_the_remedy),
        cmocka_unit_test(a_missing_or_unreadable_file_is_named),
        cmocka_unit_test(sizes_have_limits),
        cmocka_unit_test(as_many_peers_as_nodes_and_not_one_more),
        cmocka_unit_test(a_long_file_name_leaves_room_for_the_message),
        cmocka_unit_test(profiles_keep_the_rules_and_their_leases),
        cmocka_unit_test(a_timing_map_fills_up_from_the_default),
        cmocka_unit_test(the_founding_digest_covers_what_founders_must_agree_on),
        cmocka_unit_test(no_bytes_break_it),
        cmocka_unit_test(the_example_is_good_and_complete),
        cmocka_unit_test(the_manual_has_every_key),
        cmocka_unit_test(the_page_of_limits_tells_the_truth),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
