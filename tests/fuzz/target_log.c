/* A whole log, applied: any number of {u16 length, big endian; a command}. Whatever entries a leader makes, no node may
 * stop at them, all tables stay equal, and a snapshot of the result can be read again, since nothing but that brings a
 * node back. */

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "fuzz.h"
#include "wire/command.h"
#include "core/format.h"
#include "wire/snapshot.h"

static alignas(max_align_t) uint8_t scratch[COMMAND_SCRATCH_BYTES];
static uint8_t bytes[SNAPSHOT_BYTES_MAX];
static struct table table, restored;

/* What the rest of the product takes for granted of each VIP. */
static void check_vips(void)
{
    int used = 0;

    for (int slot = 0; slot < VIPS_MAX; slot++) {
        const struct vip *vip = &table.vips[slot];

        if (!vip->used) {
            continue;
        }
        used++;
        FUZZ_CHECK(slot < table.vips_end);
        FUZZ_CHECK(table_vip_by_addr(&table, &vip->address.addr) == slot);
        FUZZ_CHECK(vip->deleted || table_vip_by_name(&table, vip->name) == slot);
        FUZZ_CHECK(vip->owner == SLOT_NONE || table.nodes[vip->owner].used);
        FUZZ_CHECK(vip->prev == SLOT_NONE || table.nodes[vip->prev].used);
        FUZZ_CHECK(vip->moved > 0 && vip->moved <= table.applied);
    }
    FUZZ_CHECK(used == table.n_vips);
}

static void check_snapshot(void)
{
    size_t len;

    if (table.format > FORMAT_LAST) { /* every node said that it reads that, this one too */
        FUZZ_CHECK(snapshot_encode(&table, bytes, sizeof bytes, &len) == -EPROTONOSUPPORT);
        return;
    }
    FUZZ_CHECK(snapshot_encode(&table, bytes, sizeof bytes, &len) == 0);
    table_init(&restored);
    FUZZ_CHECK(snapshot_decode(bytes, len, &restored) == 0);
    FUZZ_CHECK(table_digest(&restored) == table_digest(&table));
    FUZZ_CHECK(restored.n_vips == table.n_vips && restored.vips_end == table.vips_end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct command command;
    struct outcome outcome;
    uint64_t index = 0;

    table_init(&table);
    while (size >= 2) {
        size_t len = (size_t)data[0] << 8 | data[1];

        data += 2;
        size -= 2;
        len = len < size ? len : size;
        if (command_decode(data, len, scratch, sizeof scratch, &command) == 0) {
            table_apply(&table, ++index, &command, &outcome);
            FUZZ_CHECK(table.applied == index && outcome.code <= OUTCOME_FAILED);
            FUZZ_CHECK(memchr(outcome.detail, '\0', sizeof outcome.detail) != NULL);
        }
        data += len;
        size -= len;
    }
    if (index > 0) {
        check_vips();
        check_snapshot();
    }
    return 0;
}
