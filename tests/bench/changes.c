/*
 * Changes through the client library, as fast as they go.
 *
 *   bench_changes SOCKET SECONDS VIP...      one client, in a thread of its own, for each VIP
 *
 * Each client changes its VIP to and fro (`probe`), the next change after the answer to the last one, which comes once the
 * change is committed. It prints "N SECONDS MEDIAN_US P99_US": the changes of all, the time they took, and how long
 * one took. Failure modes: a refused change or a daemon that is gone ends the program.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vipd/client.h"

enum {
    CLIENTS_MAX = 64,
    CHANGES_MAX = 1 << 18, /* of one client; a longer run ends early, with the time it took */
};

struct bench_client
{
    pthread_t thread;
    const char *socket, *vip;
    double until_s;
    float *took_us;
    unsigned n;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench_changes: %s: %s\n", what, why);
    exit(1);
}

static void change(struct vipd_client *client, const char *vip, bool probe)
{
    struct vipd_args *args = vipd_args_new();
    struct vipd_value *vips = vipd_new_array(args), *set = vipd_new_map(args);
    struct vipd_reply *reply;
    vipd_push(args, vips, vipd_new_text(args, vip));
    vipd_put(args, set, "probe", vipd_new_bool(args, probe));
    vipd_put(args, vipd_args_root(args), "vips", vips);
    vipd_put(args, vipd_args_root(args), "set", set);
    int err = vipd_call(client, "vip.set", args, NULL, &reply);
    if (err < 0) {
        die(vip, strerror(-err));
    }
    if (vipd_reply_code(reply) != VIPD_DONE || !vipd_bool(vipd_get(vipd_reply_result(reply), "changed"), false)) {
        die(vip, vipd_reply_error(reply) != NULL ? vipd_reply_error(reply) : "it was so already");
    }
    vipd_reply_free(reply);
    vipd_args_free(args);
}

static void *work(void *argument)
{
    struct bench_client *own = argument;
    struct vipd_client *client;
    int err = vipd_client_open(own->socket, &client);
    if (err < 0) {
        die(own->socket, strerror(-err));
    }
    bool probe = false;
    for (double now = now_s(); now < own->until_s && own->n < CHANGES_MAX;) {
        change(client, own->vip, probe);
        double after = now_s();
        own->took_us[own->n++] = (float)((after - now) * 1e6);
        now = after;
        probe = !probe;
    }
    if (probe) {
        change(client, own->vip, probe); /* as it was */
    }
    vipd_client_close(client);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static struct bench_client clients[CLIENTS_MAX];
    int n = argc - 3;
    if (n < 1 || n > CLIENTS_MAX || atof(argv[2]) <= 0) {
        fputs("usage: bench_changes SOCKET SECONDS VIP...\n", stderr);
        return 2;
    }
    double start = now_s();
    for (int i = 0; i < n; i++) {
        clients[i] = (struct bench_client){.socket = argv[1], .vip = argv[3 + i], .until_s = start + atof(argv[2])};
        clients[i].took_us = calloc(CHANGES_MAX, sizeof *clients[i].took_us);
        if (clients[i].took_us == NULL || pthread_create(&clients[i].thread, NULL, work, &clients[i]) != 0) {
            die(argv[3 + i], "no memory");
        }
    }
    unsigned total = 0;
    for (int i = 0; i < n; i++) {
        pthread_join(clients[i].thread, NULL);
        total += clients[i].n;
    }
    double took = now_s() - start;
    float *all = calloc(total + 1, sizeof *all);
    if (all == NULL) {
        die("sorting", "no memory");
    }
    for (int i = 0, at = 0; i < n; i++) {
        memcpy(all + at, clients[i].took_us, clients[i].n * sizeof *all);
        at += (int)clients[i].n;
        free(clients[i].took_us);
    }
    qsort(all, total, sizeof *all, by_size);
    printf("%u %.6f %.1f %.1f\n", total, took, (double)all[total / 2], (double)all[total * 99ull / 100]);
    free(all);
    return 0;
}
