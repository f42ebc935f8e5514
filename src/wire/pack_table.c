#include "wire/pack_table.h"

#include <string.h>

#define TIMING_VALUES 5
#define SETTINGS_VALUES 8
#define CHECK_VALUES 10
#define PREFER_VALUES 2
#define LINK_VALUES 4
#define MAC_NUMBER_MAX 0xffffffffffffull
#define PREFIX_VALUES 2
#define HOOK_VALUES 3
#define SPEC_VALUES 16 /* the prefix is two */

void pack_timing(struct packer *packer, const struct timing *timing)
{
    pack_array(packer, TIMING_VALUES);
    pack_uint(packer, timing->interval_ms);
    pack_uint(packer, timing->suspect_ms);
    pack_uint(packer, timing->promise_ms);
    pack_uint(packer, timing->margin_ms);
    pack_uint(packer, timing->election_ms);
}

void unpack_timing(struct unpacker *unpacker, struct timing *ret)
{
    (void)unpack_array(unpacker, TIMING_VALUES, TIMING_VALUES);
    ret->interval_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->suspect_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->promise_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->margin_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->election_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
}

void pack_settings(struct packer *packer, const struct settings *settings)
{
    pack_array(packer, SETTINGS_VALUES);
    pack_uint(packer, settings->announce_count);
    pack_uint(packer, settings->announce_interval_ms);
    pack_uint(packer, settings->announce_refresh_ms);
    pack_uint(packer, settings->failback_ms);
    pack_uint(packer, settings->hold_after);
    pack_uint(packer, settings->hold_window_ms);
    pack_uint(packer, settings->hold_first_ms);
    pack_uint(packer, settings->hold_max_ms);
}

void unpack_settings(struct unpacker *unpacker, struct settings *ret)
{
    (void)unpack_array(unpacker, SETTINGS_VALUES, SETTINGS_VALUES);
    ret->announce_count = (uint16_t)unpack_uint(unpacker, UINT16_MAX);
    ret->announce_interval_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->announce_refresh_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->failback_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->hold_after = (uint16_t)unpack_uint(unpacker, UINT16_MAX);
    ret->hold_window_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->hold_first_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->hold_max_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
}

void pack_prefers(struct packer *packer, const struct prefer *prefers, unsigned n)
{
    pack_array(packer, (size_t)n * PREFER_VALUES);
    for (unsigned i = 0; i < n; i++) {
        pack_int(packer, prefers[i].node);
        pack_uint(packer, prefers[i].weight);
    }
}

uint8_t unpack_prefers(struct unpacker *unpacker, struct prefer ret[PREFERS_MAX])
{
    uint32_t values = unpack_array(unpacker, 0, PREFERS_MAX * PREFER_VALUES);

    if (values % PREFER_VALUES != 0) {
        unpacker->failed = true;
    }
    for (uint32_t i = 0; i < values / PREFER_VALUES; i++) {
        ret[i].node = unpack_node(unpacker);
        ret[i].weight = (uint16_t)unpack_uint(unpacker, UINT16_MAX);
    }
    return (uint8_t)(values / PREFER_VALUES);
}

void pack_apart(struct packer *packer, const uint16_t *apart, unsigned n)
{
    pack_array(packer, n);
    for (unsigned i = 0; i < n; i++) {
        pack_uint(packer, apart[i]);
    }
}

uint8_t unpack_apart(struct unpacker *unpacker, uint16_t ret[APART_MAX])
{
    uint32_t n = unpack_array(unpacker, 0, APART_MAX);

    for (uint32_t i = 0; i < n; i++) {
        ret[i] = unpack_vip(unpacker);
    }
    return (uint8_t)n;
}

void pack_mac(struct packer *packer, const uint8_t mac[MAC_SIZE])
{
    uint64_t number = 0;

    for (int i = 0; i < MAC_SIZE; i++) {
        number = number << 8 | mac[i];
    }
    pack_uint(packer, number);
}

void unpack_mac(struct unpacker *unpacker, uint8_t ret[MAC_SIZE])
{
    uint64_t number = unpack_uint(unpacker, MAC_NUMBER_MAX);

    for (int i = MAC_SIZE - 1; i >= 0; i--) {
        ret[i] = (uint8_t)number;
        number >>= 8;
    }
}

void pack_links(struct packer *packer, const struct link *links, unsigned n)
{
    pack_array(packer, n);
    for (unsigned i = 0; i < n; i++) {
        pack_array(packer, LINK_VALUES);
        pack_text(packer, links[i].name);
        pack_bool(packer, links[i].up);
        pack_mac(packer, links[i].mac);
        pack_array(packer, (size_t)links[i].n_prefixes * PREFIX_VALUES);
        for (int k = 0; k < links[i].n_prefixes; k++) {
            pack_prefix(packer, &links[i].prefixes[k]);
        }
    }
}

static void unpack_link(struct unpacker *unpacker, struct link *ret)
{
    uint32_t values;

    (void)unpack_array(unpacker, LINK_VALUES, LINK_VALUES);
    unpack_text(unpacker, ret->name, sizeof ret->name);
    ret->up = unpack_bool(unpacker);
    unpack_mac(unpacker, ret->mac);
    values = unpack_array(unpacker, 0, LINK_PREFIXES_MAX * PREFIX_VALUES);
    if (values % PREFIX_VALUES != 0) {
        unpacker->failed = true;
    }
    ret->n_prefixes = (uint8_t)(values / PREFIX_VALUES);
    for (int i = 0; i < ret->n_prefixes; i++) {
        ret->prefixes[i] = unpack_prefix(unpacker);
    }
}

uint8_t unpack_links(struct unpacker *unpacker, struct link ret[LINKS_MAX])
{
    uint32_t n = unpack_array(unpacker, 0, LINKS_MAX);

    for (uint32_t i = 0; i < n; i++) {
        unpack_link(unpacker, &ret[i]);
    }
    return (uint8_t)n;
}

void pack_hooks(struct packer *packer, const struct hook hooks[HOOK_POINTS_N])
{
    size_t n = 0;

    for (int i = 0; i < HOOK_POINTS_N; i++) {
        n += hooks[i].program[0] != '\0';
    }
    pack_array(packer, n * HOOK_VALUES);
    for (unsigned i = 0; i < HOOK_POINTS_N; i++) {
        if (hooks[i].program[0] != '\0') {
            pack_uint(packer, i);
            pack_text(packer, hooks[i].program);
            pack_uint(packer, hooks[i].timeout_ms);
        }
    }
}

void unpack_hooks(struct unpacker *unpacker, struct hook ret[HOOK_POINTS_N])
{
    uint32_t values = unpack_array(unpacker, 0, HOOK_POINTS_N * HOOK_VALUES);

    if (values % HOOK_VALUES != 0) {
        unpacker->failed = true;
    }
    memset(ret, 0, HOOK_POINTS_N * sizeof *ret);
    for (uint32_t i = 0; i < values / HOOK_VALUES && !unpacker->failed; i++) {
        struct hook *hook = &ret[unpack_uint(unpacker, HOOK_POINTS_N - 1)];

        unpacker->failed = unpacker->failed || hook->program[0] != '\0';
        unpack_text(unpacker, hook->program, sizeof hook->program);
        hook->timeout_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
        unpacker->failed = unpacker->failed || hook->program[0] == '\0';
    }
}

void pack_spec(struct packer *packer, const struct vip_spec *spec)
{
    pack_array(packer, SPEC_VALUES);
    pack_text(packer, spec->name);
    pack_prefix(packer, &spec->address);
    pack_text(packer, spec->dev);
    pack_uint(packer, spec->nodes);
    pack_uint(packer, spec->checks);
    pack_text(packer, spec->group);
    pack_bool(packer, spec->enabled);
    pack_int(packer, spec->pinned);
    pack_bool(packer, spec->no_probe);
    pack_bool(packer, spec->yield);
    pack_bool(packer, spec->no_reset);
    pack_hooks(packer, spec->hooks);
    pack_uint(packer, spec->failback);
    pack_prefers(packer, spec->prefers, spec->n_prefers);
    pack_apart(packer, spec->apart, spec->n_apart);
}

void unpack_spec(struct unpacker *unpacker, struct vip_spec *ret)
{
    (void)unpack_array(unpacker, SPEC_VALUES, SPEC_VALUES);
    unpack_text(unpacker, ret->name, sizeof ret->name);
    ret->address = unpack_prefix(unpacker);
    unpack_text(unpacker, ret->dev, sizeof ret->dev);
    ret->nodes = unpack_uint(unpacker, UINT64_MAX);
    ret->checks = unpack_uint(unpacker, UINT64_MAX);
    unpack_text(unpacker, ret->group, sizeof ret->group);
    ret->enabled = unpack_bool(unpacker);
    ret->pinned = unpack_node_or_none(unpacker);
    ret->no_probe = unpack_bool(unpacker);
    ret->yield = unpack_bool(unpacker);
    ret->no_reset = unpack_bool(unpacker);
    unpack_hooks(unpacker, ret->hooks);
    ret->failback = (uint32_t)unpack_uint(unpacker, OWN_FAILBACK_MAX);
    ret->n_prefers = unpack_prefers(unpacker, ret->prefers);
    ret->n_apart = unpack_apart(unpacker, ret->apart);
}

void pack_check(struct packer *packer, const struct check_spec *spec)
{
    pack_array(packer, CHECK_VALUES);
    pack_text(packer, spec->name);
    pack_uint(packer, spec->kind);
    pack_text(packer, spec->target);
    pack_uint(packer, spec->every_ms);
    pack_uint(packer, spec->timeout_ms);
    pack_uint(packer, spec->fall);
    pack_uint(packer, spec->rise);
    pack_uint(packer, spec->weight);
    pack_bool(packer, spec->node);
    pack_bool(packer, spec->release);
}

void unpack_check(struct unpacker *unpacker, struct check_spec *ret)
{
    (void)unpack_array(unpacker, CHECK_VALUES, CHECK_VALUES);
    unpack_text(unpacker, ret->name, sizeof ret->name);
    ret->kind = (enum check_kind)unpack_uint(unpacker, CHECK_KINDS_N - 1);
    unpack_text(unpacker, ret->target, sizeof ret->target);
    ret->every_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->timeout_ms = (uint32_t)unpack_uint(unpacker, UINT32_MAX);
    ret->fall = (uint8_t)unpack_uint(unpacker, UINT8_MAX);
    ret->rise = (uint8_t)unpack_uint(unpacker, UINT8_MAX);
    ret->weight = (uint16_t)unpack_uint(unpacker, UINT16_MAX);
    ret->node = unpack_bool(unpacker);
    ret->release = unpack_bool(unpacker);
}

int8_t unpack_node_or_none(struct unpacker *unpacker)
{
    return (int8_t)unpack_int(unpacker, SLOT_NONE, NODES_MAX - 1);
}

int8_t unpack_node(struct unpacker *unpacker)
{
    return (int8_t)unpack_int(unpacker, 0, NODES_MAX - 1);
}

uint16_t unpack_vip(struct unpacker *unpacker)
{
    return (uint16_t)unpack_uint(unpacker, VIPS_MAX - 1);
}
