#include "wire/report.h"

#include <errno.h>
#include <string.h>

#include "wire/pack_table.h"

#define REPORT_VALUES 11
#define LINK_VALUES 4
#define CONFLICT_FIELDS 4
#define PREFIX_VALUES 2

/* Both texts are shown to people. The kernel lets an interface have nearly any name; one that could play tricks on a
 * terminal is no name for us. */
static bool is_fit(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

static bool is_link_name(const char *name)
{
    return name[0] != '\0' && is_fit(name);
}

/* ---------------------------------------------------------------- encode */

static void pack_link(struct packer *packer, const struct link *link)
{
    pack_array(packer, LINK_VALUES);
    pack_text(packer, link->name);
    pack_bool(packer, link->up);
    pack_mac(packer, link->mac);
    pack_array(packer, link->n_prefixes);
    for (unsigned i = 0; i < link->n_prefixes; i++) {
        pack_array(packer, PREFIX_VALUES);
        pack_prefix(packer, &link->prefixes[i]);
    }
}

static void pack_conflicts(struct packer *packer, const struct report *report)
{
    pack_array(packer, (size_t)report->n_conflicts * CONFLICT_FIELDS);
    for (unsigned i = 0; i < report->n_conflicts; i++) {
        pack_uint(packer, report->conflicts[i].vip);
        pack_uint(packer, report->conflicts[i].moved);
        pack_uint(packer, report->conflicts[i].kind);
        pack_mac(packer, report->conflicts[i].mac);
    }
}

int report_encode(const struct report *report, uint32_t format, uint8_t *buf, size_t size, size_t *ret_len)
{
    struct packer packer;
    size_t n_links = 0;

    for (unsigned i = 0; i < report->n_links; i++) {
        n_links += is_link_name(report->links[i].name);
    }
    packer_init(&packer, buf, size);
    pack_array(&packer, REPORT_VALUES);
    pack_uint(&packer, format);
    pack_uint(&packer, report->node);
    pack_uint(&packer, report->identity);
    pack_uint(&packer, report->run);
    pack_bool(&packer, report->witness);
    pack_bool(&packer, report->leaving);
    pack_text(&packer, report->version);
    pack_uint(&packer, report->reads_first);
    pack_uint(&packer, report->reads_last);
    pack_array(&packer, n_links);
    for (unsigned i = 0; i < report->n_links; i++) {
        if (is_link_name(report->links[i].name)) {
            pack_link(&packer, &report->links[i]);
        }
    }
    pack_conflicts(&packer, report);
    return packer_done(&packer, ret_len);
}

/* ---------------------------------------------------------------- decode */

static void unpack_link(struct unpacker *unpacker, struct link *ret)
{
    (void)unpack_array(unpacker, LINK_VALUES, LINK_VALUES);
    unpack_text(unpacker, ret->name, sizeof ret->name);
    ret->up = unpack_bool(unpacker);
    unpack_mac(unpacker, ret->mac);
    ret->n_prefixes = (uint8_t)unpack_array(unpacker, 0, LINK_PREFIXES_MAX);
    for (int i = 0; i < ret->n_prefixes; i++) {
        (void)unpack_array(unpacker, PREFIX_VALUES, PREFIX_VALUES);
        ret->prefixes[i] = unpack_prefix(unpacker);
        unpacker->failed = unpacker->failed || ret->prefixes[i].addr.family == 0;
    }
    unpacker->failed = unpacker->failed || !is_link_name(ret->name);
}

static void unpack_conflicts(struct unpacker *unpacker, struct report *ret)
{
    uint32_t values = unpack_array(unpacker, 0, CONFLICTS_MAX * CONFLICT_FIELDS);

    unpacker->failed = unpacker->failed || values % CONFLICT_FIELDS != 0;
    ret->n_conflicts = (uint8_t)(values / CONFLICT_FIELDS);
    for (unsigned i = 0; i < ret->n_conflicts; i++) {
        ret->conflicts[i].vip = unpack_vip(unpacker);
        ret->conflicts[i].moved = unpack_uint(unpacker, UINT64_MAX);
        ret->conflicts[i].kind = (enum conflict_kind)unpack_uint(unpacker, CONFLICT_KINDS_N - 1);
        unpack_mac(unpacker, ret->conflicts[i].mac);
    }
}

static void unpack_report(struct unpacker *unpacker, struct report *ret)
{
    uint64_t format;

    (void)unpack_array(unpacker, REPORT_VALUES, REPORT_VALUES);
    format = unpack_uint(unpacker, UINT64_MAX);
    unpacker->failed = unpacker->failed || format < FORMAT_FIRST || format > FORMAT_LAST;
    ret->node = unpack_uint(unpacker, UINT64_MAX);
    ret->identity = unpack_uint(unpacker, UINT64_MAX);
    ret->run = unpack_uint(unpacker, UINT64_MAX);
    ret->witness = unpack_bool(unpacker);
    ret->leaving = unpack_bool(unpacker);
    unpack_text(unpacker, ret->version, sizeof ret->version);
    ret->reads_first = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->reads_last = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->n_links = (uint8_t)unpack_array(unpacker, 0, LINKS_MAX);
    for (int i = 0; i < ret->n_links; i++) {
        unpack_link(unpacker, &ret->links[i]);
    }
    unpack_conflicts(unpacker, ret);
    unpacker->failed = unpacker->failed || !is_fit(ret->version);
}

int report_decode(const uint8_t *buf, size_t len, struct report *ret)
{
    struct unpacker unpacker;
    struct report report;

    memset(&report, 0, sizeof report);
    unpacker_init(&unpacker, buf, len);
    unpack_report(&unpacker, &report);
    if (len > REPORT_BYTES_MAX || unpacker_done(&unpacker) != 0) {
        return -EBADMSG;
    }
    *ret = report;
    return 0;
}
