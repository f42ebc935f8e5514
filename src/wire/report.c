#include "wire/report.h"

#include <errno.h>
#include <msgpack.h>
#include <string.h>

#define REPORT_VERSION 1
#define REPORT_FIELDS 8

/* ---------------------------------------------------------------- encode */

struct sink
{
    uint8_t *buf;
    size_t size, len;
};

static int sink_write(void *data, const char *buf, size_t len)
{
    struct sink *sink = data;
    if (sink->size - sink->len < len) {
        return -1;
    }
    memcpy(sink->buf + sink->len, buf, len);
    sink->len += len;
    return 0;
}

static int pack_text(msgpack_packer *p, const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    return msgpack_pack_str(p, len) || msgpack_pack_str_body(p, text, len);
}

static int pack_link(msgpack_packer *p, const struct link *link)
{
    int rv = msgpack_pack_array(p, 3) || pack_text(p, link->name, DEV_SIZE) ||
             (link->up ? msgpack_pack_true(p) : msgpack_pack_false(p)) || msgpack_pack_array(p, link->n_prefixes);
    for (unsigned i = 0; !rv && i < link->n_prefixes; i++) {
        const struct prefix *prefix = &link->prefixes[i];
        size_t len = addr_bits(&prefix->addr) / 8;
        rv = msgpack_pack_array(p, 2) || msgpack_pack_bin(p, len) || msgpack_pack_bin_body(p, prefix->addr.bytes, len) ||
             msgpack_pack_uint8(p, prefix->len);
    }
    return rv;
}

int report_encode(const struct report *report, uint8_t *buf, size_t size, size_t *ret_len)
{
    struct sink sink = {buf, size, 0};
    msgpack_packer p;
    msgpack_packer_init(&p, &sink, sink_write);
    int rv = msgpack_pack_array(&p, REPORT_FIELDS) || msgpack_pack_uint8(&p, REPORT_VERSION) ||
             msgpack_pack_uint64(&p, report->node) || msgpack_pack_uint64(&p, report->identity) ||
             msgpack_pack_uint64(&p, report->run) || (report->witness ? msgpack_pack_true(&p) : msgpack_pack_false(&p)) ||
             (report->leaving ? msgpack_pack_true(&p) : msgpack_pack_false(&p)) ||
             pack_text(&p, report->version, VERSION_SIZE - 1) || msgpack_pack_array(&p, report->n_links);
    for (unsigned i = 0; !rv && i < report->n_links; i++) {
        rv = pack_link(&p, &report->links[i]);
    }
    if (rv) {
        return -ENOBUFS;
    }
    *ret_len = sink.len;
    return 0;
}

/* ---------------------------------------------------------------- decode */

static bool take_uint(const msgpack_object *o, uint64_t max, uint64_t *ret)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || o->via.u64 > max) {
        return false;
    }
    *ret = o->via.u64;
    return true;
}

static bool take_bool(const msgpack_object *o, bool *ret)
{
    if (o->type != MSGPACK_OBJECT_BOOLEAN) {
        return false;
    }
    *ret = o->via.boolean;
    return true;
}

static bool take_text(const msgpack_object *o, char *ret, size_t size)
{
    if (o->type != MSGPACK_OBJECT_STR || o->via.str.size >= size) {
        return false;
    }
    for (uint32_t i = 0; i < o->via.str.size; i++) {
        if (o->via.str.ptr[i] <= ' ' || o->via.str.ptr[i] > '~') {
            return false;
        }
    }
    memset(ret, 0, size);
    memcpy(ret, o->via.str.ptr, o->via.str.size);
    return true;
}

static bool take_array(const msgpack_object *o, uint32_t max, const msgpack_object **ret, uint32_t *ret_n)
{
    if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > max) {
        return false;
    }
    *ret = o->via.array.ptr;
    *ret_n = o->via.array.size;
    return true;
}

static bool take_prefix(const msgpack_object *o, struct prefix *ret)
{
    const msgpack_object *f;
    uint32_t n;
    uint64_t len;
    if (!take_array(o, 2, &f, &n) || n != 2 || f[0].type != MSGPACK_OBJECT_BIN) {
        return false;
    }
    uint32_t size = f[0].via.bin.size;
    if ((size != 4 && size != 16) || !take_uint(&f[1], size * 8, &len)) {
        return false;
    }
    ret->addr.family = size == 4 ? 4 : 6;
    memcpy(ret->addr.bytes, f[0].via.bin.ptr, size);
    ret->len = (uint8_t)len;
    return true;
}

static bool take_link(const msgpack_object *o, struct link *ret)
{
    const msgpack_object *f, *p;
    uint32_t n, n_prefixes;
    if (!take_array(o, 3, &f, &n) || n != 3 || !take_text(&f[0], ret->name, sizeof ret->name) || !ret->name[0] ||
        !take_bool(&f[1], &ret->up) || !take_array(&f[2], LINK_PREFIXES_MAX, &p, &n_prefixes)) {
        return false;
    }
    for (uint32_t i = 0; i < n_prefixes; i++) {
        if (!take_prefix(&p[i], &ret->prefixes[i])) {
            return false;
        }
    }
    ret->n_prefixes = (uint8_t)n_prefixes;
    return true;
}

static bool take_report(const msgpack_object *o, struct report *ret)
{
    const msgpack_object *f, *links;
    uint32_t n, n_links;
    uint64_t version;
    if (!take_array(o, REPORT_FIELDS, &f, &n) || n != REPORT_FIELDS || !take_uint(&f[0], REPORT_VERSION, &version) ||
        version != REPORT_VERSION || !take_uint(&f[1], UINT64_MAX, &ret->node) ||
        !take_uint(&f[2], UINT64_MAX, &ret->identity) || !take_uint(&f[3], UINT64_MAX, &ret->run) ||
        !take_bool(&f[4], &ret->witness) || !take_bool(&f[5], &ret->leaving) ||
        !take_text(&f[6], ret->version, sizeof ret->version) || !take_array(&f[7], LINKS_MAX, &links, &n_links)) {
        return false;
    }
    for (uint32_t i = 0; i < n_links; i++) {
        if (!take_link(&links[i], &ret->links[i])) {
            return false;
        }
    }
    ret->n_links = (uint8_t)n_links;
    return true;
}

int report_decode(const uint8_t *buf, size_t len, struct report *ret)
{
    msgpack_unpacked unpacked;
    struct report report;
    size_t off = 0;
    msgpack_unpacked_init(&unpacked);
    memset(&report, 0, sizeof report);
    bool good = len <= REPORT_BYTES_MAX &&
                msgpack_unpack_next(&unpacked, (const char *)buf, len, &off) == MSGPACK_UNPACK_SUCCESS && off == len &&
                take_report(&unpacked.data, &report);
    msgpack_unpacked_destroy(&unpacked);
    if (!good) {
        return -EBADMSG;
    }
    *ret = report;
    return 0;
}
