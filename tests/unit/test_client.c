/* The client library against the real control server and the real api, in a thread of their own. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "api_cluster.h"
#include "io/control.h"
#include "vipd/client.h"

#define WAITS_MAX 16
#define TICK_MS 10

/* What the test tells the server's thread, under `lock`. */
struct orders
{
    bool stop;
    bool no_leader;      /* changes and waits are answered with code 4 */
    bool slow;           /* requests are kept and never answered */
    unsigned drop;       /* so many replies are lost: done, and the connection closed instead */
    bool frozen;         /* time does not pass: nothing becomes real */
    unsigned served;     /* requests of every kind */
    unsigned changes;
};

struct wait
{
    struct control_call *call;
    struct value_arena arena;
    struct control_request request;
    uint64_t until_ms;
};

struct bench
{
    char dir[64];
    char path[100];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ready;
    bool is_ready;
    struct orders orders;
    uv_loop_t loop;
    uv_timer_t tick;
    struct control *control;
    struct cluster *cluster;
    struct wait waits[WAITS_MAX];
    struct control_call *kept[WAITS_MAX];
    unsigned n_kept;
};

/* --------------------------------------------------------------------------------------------------- the daemon */

static void reply(struct control_call *call, const struct control_reply *with)
{
    void *frame;
    size_t len;

    if (control_reply_encode(with, &frame, &len) < 0) {
        abort();
    }
    control_reply(call, frame, len);
    free(frame);
}

static void keep_wait(struct bench *bench, struct control_call *call, struct wait with)
{
    for (int i = 0; i < WAITS_MAX; i++) {
        if (bench->waits[i].call == NULL) {
            with.call = call;
            with.until_ms = uv_now(&bench->loop) + api_wait_ms(&with.request);
            bench->waits[i] = with;
            return;
        }
    }
    abort();
}

static void serve(struct bench *bench, struct control_call *call, struct wait now, struct orders *orders)
{
    enum api_kind kind = api_kind(now.request.op);
    struct control_reply with;

    if (orders->no_leader && kind != API_OWN) {
        api_no_quorum(&with);
        reply(call, &with);
    } else if (kind == API_WAIT) {
        keep_wait(bench, call, now);
        return;
    } else {
        orders->changes += kind == API_CHANGE;
        cluster_serve(bench->cluster, &now.request, &now.arena, &with);
        if (orders->drop > 0) {
            orders->drop--;
            control_drop(call);
        } else {
            reply(call, &with);
        }
    }
    value_arena_close(&now.arena);
}

static void on_request(void *ud, struct control_call *call, const void *bytes, size_t len, uid_t uid)
{
    struct bench *bench = ud;
    struct wait now = { .call = NULL };
    const char *why;

    (void)uid;
    pthread_mutex_lock(&bench->lock);
    bench->orders.served++;
    value_arena_init(&now.arena, CONTROL_REQUEST_ARENA_MAX);
    if (bench->orders.slow) {
        bench->kept[bench->n_kept++ % WAITS_MAX] = call;
    } else if (control_request_decode(&now.arena, bytes, len, &now.request, &why) < 0) {
        struct control_reply with;
        api_refuse(&now.arena, &with, CONTROL_USAGE, NULL, "%s", why);
        reply(call, &with);
        value_arena_close(&now.arena);
    } else {
        serve(bench, call, now, &bench->orders);
    }
    pthread_mutex_unlock(&bench->lock);
}

static void look_at_waits(struct bench *bench)
{
    struct api_view view = cluster_view(bench->cluster);

    for (int i = 0; i < WAITS_MAX; i++) {
        struct wait *wait = &bench->waits[i];
        struct control_reply with;
        bool bad;
        if (wait->call == NULL) {
            continue;
        }
        if (api_settled(&view, &wait->request, &bad) || bad || uv_now(&bench->loop) >= wait->until_ms) {
            api_read(&view, &wait->request, &wait->arena, &with);
            reply(wait->call, &with);
            value_arena_close(&wait->arena);
            wait->call = NULL;
        }
    }
}

static void end_daemon(struct bench *bench)
{
    for (int i = 0; i < WAITS_MAX; i++) {
        if (bench->waits[i].call != NULL) {
            control_drop(bench->waits[i].call);
            value_arena_close(&bench->waits[i].arena);
            bench->waits[i].call = NULL;
        }
    }
    for (unsigned i = 0; i < bench->n_kept; i++) {
        control_drop(bench->kept[i]);
    }
    bench->n_kept = 0;
    control_close(bench->control, NULL, NULL);
    uv_close((uv_handle_t *)&bench->tick, NULL);
}

static void on_tick(uv_timer_t *timer)
{
    struct bench *bench = timer->data;

    pthread_mutex_lock(&bench->lock);
    if (bench->orders.stop) {
        end_daemon(bench);
    } else {
        if (!bench->orders.frozen) {
            cluster_pass(bench->cluster, 25);
        }
        look_at_waits(bench);
    }
    pthread_mutex_unlock(&bench->lock);
}

static const struct control_ops ops = { .request = on_request };

static void *run(void *ud)
{
    struct bench *bench = ud;

    if (uv_loop_init(&bench->loop) < 0 ||
        control_open(&bench->control, &bench->loop, bench->path, (gid_t)-1, &ops, bench) < 0) {
        abort();
    }
    uv_timer_init(&bench->loop, &bench->tick);
    bench->tick.data = bench;
    uv_timer_start(&bench->tick, on_tick, TICK_MS, TICK_MS);
    pthread_mutex_lock(&bench->lock);
    bench->is_ready = true;
    pthread_cond_signal(&bench->ready);
    pthread_mutex_unlock(&bench->lock);
    uv_run(&bench->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&bench->loop) < 0) {
        abort();
    }
    return NULL;
}

static void start(struct bench *bench)
{
    bench->is_ready = false;
    bench->orders = (struct orders){ .stop = false };
    assert_int_equal(pthread_create(&bench->thread, NULL, run, bench), 0);
    pthread_mutex_lock(&bench->lock);
    while (!bench->is_ready) {
        pthread_cond_wait(&bench->ready, &bench->lock);
    }
    pthread_mutex_unlock(&bench->lock);
}

static void stop(struct bench *bench)
{
    pthread_mutex_lock(&bench->lock);
    bench->orders.stop = true;
    pthread_mutex_unlock(&bench->lock);
    assert_int_equal(pthread_join(bench->thread, NULL), 0);
}

static void order(struct bench *bench, struct orders orders)
{
    pthread_mutex_lock(&bench->lock);
    orders.served = bench->orders.served;
    orders.changes = bench->orders.changes;
    bench->orders = orders;
    pthread_mutex_unlock(&bench->lock);
}

static struct orders orders_now(struct bench *bench)
{
    pthread_mutex_lock(&bench->lock);
    struct orders orders = bench->orders;
    pthread_mutex_unlock(&bench->lock);
    return orders;
}

static int setup(void **state)
{
    struct bench *bench = calloc(1, sizeof *bench);

    strcpy(bench->dir, "/tmp/vipd-test-XXXXXX");
    assert_non_null(mkdtemp(bench->dir));
    snprintf(bench->path, sizeof bench->path, "%s/s", bench->dir);
    pthread_mutex_init(&bench->lock, NULL);
    pthread_cond_init(&bench->ready, NULL);
    bench->cluster = cluster_open();
    start(bench);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    stop(bench);
    cluster_close(bench->cluster);
    assert_int_equal(rmdir(bench->dir), 0);
    free(bench);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------- the client */

static struct vipd_client *dial(const struct bench *bench)
{
    struct vipd_client *client;

    assert_int_equal(vipd_client_open(bench->path, &client), 0);
    return client;
}

static struct vipd_args *names(const char *name)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *vips = vipd_new_array(args);

    vipd_push(args, vips, vipd_new_text(args, name));
    vipd_put(args, vipd_args_root(args), "vips", vips);
    return args;
}

/* VIPs number first and so on, that may be on `node` alone (NULL: anywhere). */
static struct vipd_args *adding_to(const char *node, int first, int n)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *vips = vipd_new_array(args);

    for (int i = first; i < first + n; i++) {
        struct vipd_value *vip = vipd_new_map(args);
        char address[32];
        snprintf(address, sizeof address, "2001:db8::%x:%x/64", i / 60000 + 1, i % 60000);
        vipd_put(args, vip, "address", vipd_new_text(args, address));
        if (node != NULL) {
            struct vipd_value *nodes = vipd_new_array(args);
            vipd_push(args, nodes, vipd_new_text(args, node));
            vipd_put(args, vip, "nodes", nodes);
        }
        vipd_push(args, vips, vip);
    }
    vipd_put(args, vipd_args_root(args), "vips", vips);
    return args;
}

static struct vipd_args *adding(int first, int n)
{
    return adding_to(NULL, first, n);
}

static enum vipd_code call(struct vipd_client *client, const char *op, struct vipd_args *args,
                           const struct vipd_options *options, struct vipd_reply **ret)
{
    assert_int_equal(vipd_call(client, op, args, options, ret), 0);
    vipd_args_free(args);
    return vipd_reply_code(*ret);
}

static void test_call_and_refusal(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_reply *reply;

    assert_int_equal(call(client, "status", NULL, NULL, &reply), VIPD_DONE);
    assert_null(vipd_reply_error(reply));
    assert_string_equal(vipd_text(vipd_get(vipd_reply_result(reply), "cluster"), ""), "prod");
    assert_int_equal(vipd_count(vipd_get(vipd_reply_result(reply), "nodes")), 3);
    vipd_reply_free(reply);
    assert_int_equal(call(client, "vip.del", names("nosuch"), NULL, &reply), VIPD_NOT_FOUND);
    assert_non_null(strstr(vipd_reply_error(reply), "nosuch"));
    assert_non_null(vipd_reply_hint(reply));
    vipd_reply_free(reply);
    assert_int_equal(call(client, "no.such.thing", NULL, NULL, &reply), VIPD_USAGE);
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void test_wait_until_it_is_real(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_options wait = { .wait = true };
    struct vipd_reply *reply;

    assert_int_equal(call(client, "vip.add", adding(1, 3), &wait, &reply), VIPD_DONE);
    const struct vipd_value *rows = vipd_get(vipd_reply_result(reply), "vips");
    assert_true(vipd_reply_index(reply) > 0);
    assert_int_equal(vipd_count(rows), 3);
    for (const struct vipd_value *row = vipd_first(rows); row != NULL; row = vipd_next(row)) {
        assert_string_equal(vipd_text(vipd_get(row, "state"), ""), "held");
    }
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void test_wait_times_out_and_says_why(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_options wait = { .wait = true, .timeout_ms = 300 };
    struct vipd_reply *reply;

    order(bench, (struct orders){ .frozen = true });
    assert_int_equal(call(client, "vip.add", adding_to("b", 1, 3), &wait, &reply), VIPD_TIMEOUT);
    assert_non_null(strstr(vipd_reply_error(reply), "committed"));
    assert_non_null(strstr(vipd_reply_error(reply), "2001:db8")); /* why */
    assert_true(vipd_reply_index(reply) > 0);
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void *lead_again(void *ud)
{
    struct bench *bench = ud;
    struct timespec pause = { .tv_nsec = 2000000 };

    while (orders_now(bench).served < 3) { /* it was asked, refused and asked again */
        nanosleep(&pause, NULL);
    }
    order(bench, (struct orders){ .no_leader = false });
    return NULL;
}

static void test_no_leader_is_survived(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_options wait = { .wait = true };
    struct vipd_reply *reply;
    pthread_t other;

    order(bench, (struct orders){ .no_leader = true });
    pthread_create(&other, NULL, lead_again, bench);
    assert_int_equal(call(client, "vip.add", adding(1, 1), &wait, &reply), VIPD_DONE);
    vipd_reply_free(reply);
    pthread_join(other, NULL);

    order(bench, (struct orders){ .no_leader = true });
    struct vipd_options brief = { .timeout_ms = 500 };
    unsigned served = orders_now(bench).served;
    enum vipd_code code = call(client, "vip.add", adding(2, 1), &brief, &reply);
    /* Where the machine stands still during the last try, that one stays without an answer, and it is not known what came of it. */
    for (int i = 0; i < 20 && code == VIPD_TIMEOUT; i++) {
        vipd_reply_free(reply);
        code = call(client, "vip.add", adding(2, 1), &brief, &reply);
    }
    assert_int_equal(code, VIPD_NO_QUORUM);
    assert_true(orders_now(bench).served > served + 1);
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void test_a_lost_answer_is_asked_again(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_reply *reply;

    order(bench, (struct orders){ .drop = 1 });
    assert_int_equal(call(client, "vip.add", adding(1, 1), NULL, &reply), VIPD_DONE);
    assert_int_equal(orders_now(bench).changes, 2); /* came twice, */
    assert_int_equal(bench->cluster->table->n_vips, 1);
    assert_true(vipd_reply_index(reply) > 0); /* and the second time it was known to be done */
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void test_the_daemon_is_restarted(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_reply *reply;

    assert_int_equal(call(client, "version", NULL, NULL, &reply), VIPD_DONE);
    vipd_reply_free(reply);
    stop(bench);
    assert_int_equal(vipd_call(client, "version", NULL, NULL, &reply), -ENOENT);
    start(bench);
    assert_int_equal(call(client, "version", NULL, NULL, &reply), VIPD_DONE);
    vipd_reply_free(reply);
    stop(bench);
    start(bench); /* the connection is an old one now */
    assert_int_equal(call(client, "version", NULL, NULL, &reply), VIPD_DONE);
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void test_no_answer(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_options brief = { .timeout_ms = 100 };
    struct vipd_reply *reply;

    order(bench, (struct orders){ .slow = true });
    assert_int_equal(call(client, "status", NULL, &brief, &reply), VIPD_TIMEOUT);
    assert_non_null(strstr(vipd_reply_error(reply), "in time"));
    vipd_reply_free(reply);
    order(bench, (struct orders){ .slow = false });
    assert_int_equal(call(client, "status", NULL, NULL, &reply), VIPD_DONE); /* not the late answer of the one before */
    assert_non_null(vipd_get(vipd_reply_result(reply), "cluster"));
    vipd_reply_free(reply);
    vipd_client_close(client);
}

static void test_lists_come_whole(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench);
    struct vipd_reply *reply;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(call(client, "vip.add", adding(1000 * i, 1000), NULL, &reply), VIPD_DONE);
        vipd_reply_free(reply);
    }
    assert_int_equal(vipd_list(client, "vip.list", NULL, NULL, 0, &reply), 0);
    assert_int_equal(vipd_count(vipd_reply_result(reply)), 3000);
    vipd_reply_free(reply);
    assert_int_equal(vipd_list(client, "vip.list", NULL, NULL, 1500, &reply), 0);
    assert_int_equal(vipd_count(vipd_reply_result(reply)), 1500);
    vipd_reply_free(reply);
    assert_int_equal(vipd_list(client, "history", NULL, NULL, 0, &reply), 0);
    assert_true(vipd_count(vipd_reply_result(reply)) > 3000);
    uint64_t last = 0;
    for (const struct vipd_value *row = vipd_first(vipd_reply_result(reply)); row != NULL; row = vipd_next(row)) {
        uint64_t number = vipd_uint(vipd_get(row, "number"), 0);
        assert_true(number == 0 || number == last + 1);
        last = number;
    }
    vipd_reply_free(reply);
    assert_int_equal(call(client, "vip.add", adding(9000, VIPD_VIPS_MAX + 1), NULL, &reply), VIPD_USAGE);
    vipd_reply_free(reply);
    struct vipd_args *huge = adding(9000, 40000);
    assert_int_equal(vipd_call(client, "vip.add", huge, NULL, &reply), -EMSGSIZE);
    vipd_args_free(huge);
    vipd_client_close(client);
}

static void test_what_cannot_be_reached(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client;
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    char path[300];

    assert_int_equal(vipd_client_open("/nonexistent/socket", &client), -ENOENT);
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(vipd_client_open(path, &client), -ENAMETOOLONG);
    snprintf(at.sun_path, sizeof at.sun_path, "%s/dead", bench->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    close(fd);
    assert_int_equal(vipd_client_open(at.sun_path, &client), -ECONNREFUSED);
    assert_int_equal(unlink(at.sun_path), 0);
    vipd_client_close(NULL);
}

/* A stranger on the other side of the socket: one answer, whatever is asked. */
struct stranger
{
    int fd;
    const void *bytes;
    size_t len;
};

static void *answer_once(void *ud)
{
    struct stranger *stranger = ud;
    char request[4096];
    int fd = accept(stranger->fd, NULL, NULL);

    if (fd < 0 || recv(fd, request, sizeof request, 0) <= 0 ||
        send(fd, stranger->bytes, stranger->len, MSG_NOSIGNAL) < 0) {
        abort();
    }
    close(fd);
    return NULL;
}

static int ask_stranger(const char *dir, const void *bytes, size_t len)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct stranger stranger = { .fd = socket(AF_UNIX, SOCK_STREAM, 0), .bytes = bytes, .len = len };
    struct vipd_client *client;
    struct vipd_reply *reply;
    pthread_t thread;

    snprintf(at.sun_path, sizeof at.sun_path, "%s/stranger", dir);
    assert_int_equal(bind(stranger.fd, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(stranger.fd, 1), 0);
    pthread_create(&thread, NULL, answer_once, &stranger);
    assert_int_equal(vipd_client_open(at.sun_path, &client), 0);
    int r = vipd_call(client, "status", NULL, &(struct vipd_options){ .timeout_ms = 5000 }, &reply);
    pthread_join(thread, NULL);
    close(stranger.fd);
    unlink(at.sun_path);
    vipd_client_close(client);
    return r;
}

/* The newest `newest`, or what came since; how many that were. */
static uint32_t events(struct vipd_client *client, struct vipd_position *position, uint32_t newest)
{
    struct vipd_reply *reply;

    assert_int_equal(vipd_events(client, NULL, position, newest, &reply), 0);
    assert_int_equal(vipd_reply_code(reply), VIPD_DONE);
    uint32_t n = vipd_count(vipd_get(vipd_reply_result(reply), "rows"));
    assert_null(vipd_get(vipd_reply_result(reply), "missed"));
    vipd_reply_free(reply);
    return n;
}

static void test_events_go_on_where_they_were(void **state)
{
    struct bench *bench = *state;
    struct vipd_client *client = dial(bench), *other = dial(bench);
    struct vipd_position position = { 0 };
    struct vipd_reply *reply;

    assert_int_equal(events(client, &position, 0), 0);
    assert_true(position.begun);
    assert_int_equal(events(client, &position, 0), 0);
    assert_int_equal(call(other, "vip.add", adding(1, 2), NULL, &reply), VIPD_DONE);
    vipd_reply_free(reply);
    stop(bench);
    assert_int_equal(vipd_events(client, NULL, &position, 0, &reply), -ENOENT);
    start(bench);
    uint32_t n = events(client, &position, 0);
    assert_true(n >= 2); /* added, and perhaps moved */
    uint64_t at = position.number;
    assert_int_equal(call(other, "vip.del", names("2001:db8::1:1"), NULL, &reply), VIPD_DONE);
    vipd_reply_free(reply);
    assert_true(events(client, &position, 0) >= 1 && position.number > at);
    position = (struct vipd_position){ 0 };
    assert_int_equal(events(client, &position, 2), 2);
    vipd_client_close(other);
    vipd_client_close(client);
}

static void test_strangers(void **state)
{
    struct bench *bench = *state;

    assert_int_equal(ask_stranger(bench->dir, "HTTP/1.1 400 Bad Request\r\n", 26), -EPROTO); /* a huge length */
    assert_int_equal(ask_stranger(bench->dir, "\0\0\0\0", 4), -EPROTO);
    assert_int_equal(ask_stranger(bench->dir, "\0\0\0\3abc", 7), -EPROTO);
    assert_int_equal(ask_stranger(bench->dir, "\0\0\0\1\x80", 5), -EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_call_and_refusal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_until_it_is_real, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wait_times_out_and_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_leader_is_survived, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_answer_is_asked_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_daemon_is_restarted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_come_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_events_go_on_where_they_were, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_reached, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
