#ifndef VIPD_WIRE_PACK_TABLE_H
#define VIPD_WIRE_PACK_TABLE_H

/* The pieces of the table that both commands and snapshots carry. Each is one MessagePack array. The readers check
 * numbers against the limits of core/limits.h and fail the unpacker beyond them. */

#include "core/command.h"
#include "core/table.h"
#include "wire/pack.h"

void pack_timing(struct packer *packer, const struct timing *timing);
void pack_settings(struct packer *packer, const struct settings *settings);
void pack_prefers(struct packer *packer, const struct prefer *prefers, unsigned n);
void pack_apart(struct packer *packer, const uint16_t *apart, unsigned n);
/* One number: the bytes, the first one highest. */
void pack_mac(struct packer *packer, const uint8_t mac[MAC_SIZE]);
void unpack_mac(struct unpacker *unpacker, uint8_t ret[MAC_SIZE]);
void pack_links(struct packer *packer, const struct link *links, unsigned n);

/* Those that there are, each with its point. */
void pack_hooks(struct packer *packer, const struct hook hooks[HOOK_POINTS_N]);
void unpack_hooks(struct unpacker *unpacker, struct hook ret[HOOK_POINTS_N]);

void pack_spec(struct packer *packer, const struct vip_spec *spec);
void pack_check(struct packer *packer, const struct check_spec *spec);

void unpack_check(struct unpacker *unpacker, struct check_spec *ret);
void unpack_timing(struct unpacker *unpacker, struct timing *ret);
void unpack_settings(struct unpacker *unpacker, struct settings *ret);
void unpack_spec(struct unpacker *unpacker, struct vip_spec *ret);
/* Each of these returns how many there are. */
uint8_t unpack_prefers(struct unpacker *unpacker, struct prefer ret[PREFERS_MAX]);
uint8_t unpack_apart(struct unpacker *unpacker, uint16_t ret[APART_MAX]);
uint8_t unpack_links(struct unpacker *unpacker, struct link ret[LINKS_MAX]);

/* SLOT_NONE or a slot of a node; a slot of a node. */
int8_t unpack_node_or_none(struct unpacker *unpacker);
int8_t unpack_node(struct unpacker *unpacker);
uint16_t unpack_vip(struct unpacker *unpacker);

#endif
