#include "wire/heartbeat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/pack.h"

#define HEAD 16
#define HEARTBEAT_VALUES 20
#define ANSWER_VALUES 9
#define PROMISE_VALUES 3
#define RELEASED_VALUES 2

static const uint8_t MAGIC[4] = {'V', 'I', 'P', 'H'};

static void put_head(uint8_t *head, enum datagram_type type, uint32_t format, uint64_t cluster)
{
    memset(head, 0, HEAD);
    memcpy(head, MAGIC, sizeof MAGIC);
    head[4] = (uint8_t)format;
    head[5] = (uint8_t)type;
    for (int i = 0; i < 8; i++) {
        head[8 + i] = (uint8_t)(cluster >> (56 - 8 * i));
    }
}

static uint64_t cluster_of(const uint8_t *head)
{
    uint64_t cluster = 0;

    for (int i = 0; i < 8; i++) {
        cluster = cluster << 8 | head[8 + i];
    }
    return cluster;
}

static size_t finish(const struct packer *packer)
{
    size_t len;

    if (packer_done(packer, &len) != 0) {
        abort(); /* a bug: what is sent was made to fit */
    }
    return HEAD + len;
}

/* ------------------------------------------------------------------ heartbeat */

/* A pretended next version says one thing more. */
static uint32_t heartbeat_values(uint32_t format)
{
    return HEARTBEAT_VALUES + (VIPD_PRETEND_FORMAT && format == FORMAT_LAST);
}

size_t heartbeat_encode(const struct heartbeat *heartbeat, uint32_t format, uint64_t cluster, uint8_t ret[DATAGRAM_MAX])
{
    struct packer packer;

    put_head(ret, DATAGRAM_HEARTBEAT, format, cluster);
    packer_init(&packer, ret + HEAD, DATAGRAM_MAX - HEAD);
    pack_array(&packer, heartbeat_values(format));
    pack_uint(&packer, heartbeat->from);
    pack_uint(&packer, heartbeat->run);
    pack_uint(&packer, heartbeat->gen);
    pack_uint(&packer, heartbeat->seq);
    pack_uint(&packer, heartbeat->applied);
    pack_uint(&packer, heartbeat->released);
    pack_uint(&packer, heartbeat->held);
    pack_uint(&packer, heartbeat->n_held);
    pack_uint(&packer, heartbeat->lease_ms);
    pack_uint(&packer, heartbeat->leader);
    pack_uint(&packer, heartbeat->missing);
    pack_uint(&packer, heartbeat->checks);
    pack_uint(&packer, heartbeat->passing);
    pack_uint(&packer, heartbeat->failing);
    pack_uint(&packer, heartbeat->writing_ms);
    pack_uint(&packer, heartbeat->slow_ppm);
    pack_uint(&packer, heartbeat->fast_ppm);
    pack_uint(&packer, heartbeat->last_term);
    pack_uint(&packer, heartbeat->last_index);
    pack_uint(&packer, heartbeat->format);
    if (heartbeat_values(format) > HEARTBEAT_VALUES) {
        pack_uint(&packer, format); /* pretended */
    }
    return finish(&packer);
}

static void unpack_heartbeat(struct unpacker *unpacker, uint32_t format, struct heartbeat *ret)
{
    (void)unpack_array(unpacker, heartbeat_values(format), heartbeat_values(format));
    ret->from = unpack_uint(unpacker, UINT64_MAX);
    ret->run = unpack_uint(unpacker, UINT64_MAX);
    ret->gen = unpack_uint(unpacker, UINT64_MAX);
    ret->seq = unpack_uint(unpacker, UINT64_MAX);
    ret->applied = unpack_uint(unpacker, UINT64_MAX);
    ret->released = unpack_uint(unpacker, UINT64_MAX);
    ret->held = unpack_uint(unpacker, UINT64_MAX);
    ret->n_held = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->lease_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->leader = unpack_uint(unpacker, UINT64_MAX);
    ret->missing = unpack_uint(unpacker, UINT64_MAX);
    ret->checks = unpack_uint(unpacker, UINT64_MAX);
    ret->passing = unpack_uint(unpacker, UINT64_MAX);
    ret->failing = unpack_uint(unpacker, UINT64_MAX);
    ret->writing_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->slow_ppm = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->fast_ppm = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->last_term = unpack_uint(unpacker, UINT64_MAX);
    ret->last_index = unpack_uint(unpacker, UINT64_MAX);
    ret->format = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    if (heartbeat_values(format) > HEARTBEAT_VALUES) {
        (void)unpack_uint(unpacker, UINT32_MAX);
    }
    if (ret->from == 0 || ret->run == 0) {
        unpacker->failed = true;
    }
}

/* ------------------------------------------------------------------ answer */

/* A report by its place in the order of this answer, which begins elsewhere with each seq. (The sum of seq and place
 * alone may wrap, and would then name one report twice and another never.) */
static const struct promise_report *promise_at(const struct answer *answer, unsigned i)
{
    return &answer->promises[(answer->seq % answer->n_promises + i) % answer->n_promises];
}

static const struct released_report *released_at(const struct answer *answer, unsigned i)
{
    return &answer->released[(answer->seq % answer->n_released + i) % answer->n_released];
}

static void pack_promise(struct packer *packer, const struct promise_report *report)
{
    pack_uint(packer, report->node);
    pack_uint(packer, report->fence);
    pack_uint(packer, report->left_us);
}

static void pack_released(struct packer *packer, const struct released_report *report)
{
    pack_uint(packer, report->node);
    pack_uint(packer, report->released);
}

static void pack_answer_head(struct packer *packer, const struct answer *answer)
{
    pack_array(packer, ANSWER_VALUES);
    pack_uint(packer, answer->from);
    pack_uint(packer, answer->to);
    pack_uint(packer, answer->run);
    pack_uint(packer, answer->gen);
    pack_uint(packer, answer->seq);
    pack_bool(packer, answer->acked);
    pack_uint(packer, answer->applied);
}

/* How many reports of either kind fit, taken in turns so that neither crowds out the other. */
static void fit(const struct answer *answer, unsigned *ret_promises, unsigned *ret_released)
{
    struct packer count;
    unsigned promises = 0, released = 0;

    packer_init(&count, NULL, 0);
    pack_answer_head(&count, answer);
    count.used += 2 * 3; /* the heads of two arrays of at most 65535 values */
    while (promises < answer->n_promises || released < answer->n_released) {
        if (promises < answer->n_promises) {
            pack_promise(&count, promise_at(answer, promises));
        }
        if (released < answer->n_released) {
            pack_released(&count, released_at(answer, released));
        }
        if (count.used > DATAGRAM_MAX - HEAD) {
            break;
        }
        promises += promises < answer->n_promises;
        released += released < answer->n_released;
    }
    *ret_promises = promises;
    *ret_released = released;
}

size_t answer_encode(const struct answer *answer, uint32_t format, uint64_t cluster, uint8_t ret[DATAGRAM_MAX])
{
    struct packer packer;
    unsigned promises, released;

    if (answer->n_promises > ANSWER_REPORTS_MAX || answer->n_released > ANSWER_REPORTS_MAX) {
        abort(); /* a bug of this node */
    }
    fit(answer, &promises, &released);
    put_head(ret, DATAGRAM_ANSWER, format, cluster);
    packer_init(&packer, ret + HEAD, DATAGRAM_MAX - HEAD);
    pack_answer_head(&packer, answer);
    pack_array(&packer, promises * PROMISE_VALUES);
    for (unsigned i = 0; i < promises; i++) {
        pack_promise(&packer, promise_at(answer, i));
    }
    pack_array(&packer, released * RELEASED_VALUES);
    for (unsigned i = 0; i < released; i++) {
        pack_released(&packer, released_at(answer, i));
    }
    return finish(&packer);
}

static uint8_t unpack_count(struct unpacker *unpacker, uint32_t values)
{
    uint32_t n = unpack_array(unpacker, 0, ANSWER_REPORTS_MAX * values);

    if (n % values != 0) {
        unpacker->failed = true;
    }
    return (uint8_t)(n / values);
}

static void unpack_answer(struct unpacker *unpacker, struct answer *ret)
{
    (void)unpack_array(unpacker, ANSWER_VALUES, ANSWER_VALUES);
    ret->from = unpack_uint(unpacker, UINT64_MAX);
    ret->to = unpack_uint(unpacker, UINT64_MAX);
    ret->run = unpack_uint(unpacker, UINT64_MAX);
    ret->gen = unpack_uint(unpacker, UINT64_MAX);
    ret->seq = unpack_uint(unpacker, UINT64_MAX);
    ret->acked = unpack_bool(unpacker);
    ret->applied = unpack_uint(unpacker, UINT64_MAX);
    ret->n_promises = unpack_count(unpacker, PROMISE_VALUES);
    for (int i = 0; i < ret->n_promises; i++) {
        ret->promises[i].node = unpack_uint(unpacker, UINT64_MAX);
        ret->promises[i].fence = unpack_uint(unpacker, UINT64_MAX);
        ret->promises[i].left_us = unpack_uint(unpacker, UINT64_MAX);
    }
    ret->n_released = unpack_count(unpacker, RELEASED_VALUES);
    for (int i = 0; i < ret->n_released; i++) {
        ret->released[i].node = unpack_uint(unpacker, UINT64_MAX);
        ret->released[i].released = unpack_uint(unpacker, UINT64_MAX);
    }
    if (ret->from == 0 || ret->to == 0) {
        unpacker->failed = true;
    }
}

/* ------------------------------------------------------------------ both */

int heartbeat_decode(const void *bytes, size_t len, uint64_t cluster, struct datagram_message *ret)
{
    const uint8_t *head = bytes;
    struct unpacker unpacker;
    struct datagram_message datagram;

    if (len < HEAD || len > DATAGRAM_MAX || memcmp(head, MAGIC, sizeof MAGIC) != 0) {
        return -EBADMSG;
    }
    if (head[4] < FORMAT_FIRST || head[4] > FORMAT_LAST) {
        return HEARTBEAT_OTHER_VERSION;
    }
    if (head[6] != 0 || head[7] != 0) {
        return -EBADMSG;
    }
    if (cluster_of(head) != cluster) {
        return HEARTBEAT_OTHER_CLUSTER;
    }
    memset(&datagram, 0, sizeof datagram);
    unpacker_init(&unpacker, head + HEAD, len - HEAD);
    if (head[5] == DATAGRAM_HEARTBEAT) {
        datagram.type = DATAGRAM_HEARTBEAT;
        unpack_heartbeat(&unpacker, head[4], &datagram.heartbeat);
    } else if (head[5] == DATAGRAM_ANSWER) {
        datagram.type = DATAGRAM_ANSWER;
        unpack_answer(&unpacker, &datagram.answer);
    } else {
        return -EBADMSG;
    }
    if (unpacker_done(&unpacker) != 0) {
        return -EBADMSG;
    }
    *ret = datagram;
    return 0;
}
