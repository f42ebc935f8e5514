/* A snapshot of the whole table (wire/snapshot.h): from the leader, and from the disk. */

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/snapshot.h"

static struct table was, is; /* some MiB */
static uint8_t bytes[SNAPSHOT_BYTES_MAX], bytes_again[SNAPSHOT_BYTES_MAX];

/* A name that is used twice would hide one of the two. */
static void check_names(const struct table *table)
{
    for (int i = 0; i < NODES_MAX; i++) {
        FUZZ_CHECK(!table->nodes[i].used || table_node_by_name(table, table->nodes[i].name) == i);
    }
    for (int i = 0; i < GROUPS_MAX; i++) {
        const char *name = table->groups[i].name;

        FUZZ_CHECK(name[0] == '\0' || table_group_by_name(table, name) == i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t len, len_again, counted;

    table_init(&was);
    table_init(&is);
    int r = snapshot_decode(data, size, &was);

    if (r != 0) {
        FUZZ_CHECK((r == -EBADMSG || r == -EPROTONOSUPPORT) && was.applied == 0 && was.n_vips == 0 && was.cluster_id == 0);
        return 0;
    }
    check_names(&was);
    FUZZ_CHECK(snapshot_encode(&was, NULL, 0, &counted) == 0 && counted <= SNAPSHOT_BYTES_MAX);
    FUZZ_CHECK(snapshot_encode(&was, bytes, sizeof bytes, &len) == 0 && len == counted && len <= size);
    FUZZ_CHECK(snapshot_decode(bytes, len, &is) == 0);
    FUZZ_CHECK(table_digest(&was) == table_digest(&is));
    FUZZ_CHECK(is.n_vips == was.n_vips && is.vips_end == was.vips_end);
    FUZZ_CHECK(snapshot_encode(&is, bytes_again, sizeof bytes_again, &len_again) == 0);
    FUZZ_CHECK(len_again == len && memcmp(bytes, bytes_again, len) == 0);
    return 0;
}
