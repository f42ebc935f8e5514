/* One entry of the log (wire/command.h): it comes from the leader, and from the disk. */

#include <errno.h>
#include <stdalign.h>
#include <string.h>

#include "fuzz.h"
#include "wire/command.h"

static alignas(max_align_t) uint8_t scratch[COMMAND_SCRATCH_BYTES], scratch_again[COMMAND_SCRATCH_BYTES];
static uint8_t bytes[COMMAND_BYTES_MAX], bytes_again[COMMAND_BYTES_MAX];

/* Size of an item of the command's array, 0 when its type has none; cuts the array off. */
static size_t take_array(struct command *command, const void **ret_array, size_t *ret_n)
{
    *ret_n = 0;
    *ret_array = NULL;
    switch (command->type) {
    case COMMAND_FOUND:
        *ret_n = command->found.n_nodes;
        *ret_array = command->found.nodes;
        command->found.nodes = NULL;
        return sizeof command->found.nodes[0];
    case COMMAND_FENCE:
        *ret_n = command->fence.n_moves;
        *ret_array = command->fence.moves;
        command->fence.moves = NULL;
        return sizeof command->fence.moves[0];
    case COMMAND_MOVE:
        *ret_n = command->move.n_moves;
        *ret_array = command->move.moves;
        command->move.moves = NULL;
        return sizeof command->move.moves[0];
    case COMMAND_VIP_ADD:
        *ret_n = command->vip_add.n_vips;
        *ret_array = command->vip_add.vips;
        command->vip_add.vips = NULL;
        return sizeof command->vip_add.vips[0];
    case COMMAND_VIP_DELETE:
    case COMMAND_VIP_PURGE:
        *ret_n = command->vip_del.n_vips;
        *ret_array = command->vip_del.vips;
        command->vip_del.vips = NULL;
        return sizeof command->vip_del.vips[0];
    case COMMAND_CONFLICT:
        *ret_n = command->conflict.n_items;
        *ret_array = command->conflict.items;
        command->conflict.items = NULL;
        return sizeof command->conflict.items[0];
    case COMMAND_CLEAR:
    case COMMAND_ADMIT:
    case COMMAND_VIP_SET:
    case COMMAND_NODE_REPORT:
    case COMMAND_DRAIN:
    case COMMAND_LEAVE:
    case COMMAND_SETTINGS:
    case COMMAND_GROUP_SET:
    case COMMAND_APPLY: /* it has several: check_same_document() */
    case COMMAND_NODE_ADD:
    case COMMAND_NODE_SET:
    case COMMAND_NODE_REMOVE:
    case COMMAND_NODE_DELETE:
    case COMMAND_VOTERS:
    case COMMAND_VOTING:
    case COMMAND_CHECK_SET:
    case COMMAND_CHECK_DELETE:
    case COMMAND_HEALTH:
    case COMMAND_MAINTENANCE:
    case COMMAND_FORMAT:
        break;
    }
    return 0;
}

/* Member by member, as an endpoint has padding; all else is zeroed before it is decoded into. */
static void check_same_nodes(const struct found_node *a, const struct found_node *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        FUZZ_CHECK(a[i].id == b[i].id && memcmp(a[i].name, b[i].name, sizeof a[i].name) == 0);
        FUZZ_CHECK(a[i].role == b[i].role && a[i].at.port == b[i].at.port && addr_equal(&a[i].at.addr, &b[i].at.addr));
    }
}

static void check_same_document(struct apply_command *a, struct apply_command *b)
{
    FUZZ_CHECK(a->n_vips == b->n_vips && memcmp(a->vips, b->vips, a->n_vips * sizeof a->vips[0]) == 0);
    FUZZ_CHECK(a->n_deletes == b->n_deletes && memcmp(a->deletes, b->deletes, a->n_deletes * sizeof a->deletes[0]) == 0);
    FUZZ_CHECK(a->n_groups == b->n_groups && memcmp(a->groups, b->groups, a->n_groups * sizeof a->groups[0]) == 0);
    FUZZ_CHECK(a->n_checks == b->n_checks);
    for (uint32_t i = 0; i < a->n_checks; i++) {
        FUZZ_CHECK(a->checks[i].slot == b->checks[i].slot && a->checks[i].gone == b->checks[i].gone &&
                   strcmp(a->checks[i].spec.name, b->checks[i].spec.name) == 0 &&
                   check_spec_equal(&a->checks[i].spec, &b->checks[i].spec));
    }
    FUZZ_CHECK(a->kept_size == b->kept_size && memcmp(a->kept, b->kept, a->kept_size) == 0);
    a->checks = b->checks = NULL;
    a->vips = b->vips = NULL;
    a->deletes = b->deletes = NULL;
    FUZZ_CHECK(a->n_nodes == b->n_nodes);
    for (uint32_t i = 0; i < a->n_nodes; i++) {
        FUZZ_CHECK(a->nodes[i].node == b->nodes[i].node && a->nodes[i].id == b->nodes[i].id &&
                   a->nodes[i].capacity == b->nodes[i].capacity);
    }
    a->nodes = b->nodes = NULL;
    a->groups = b->groups = NULL;
    a->kept = b->kept = NULL;
}

static void check_same(struct command a, struct command b)
{
    const void *of_a, *of_b;

    if (a.type == COMMAND_APPLY) {
        check_same_document(&a.apply, &b.apply);
    }
    size_t n_a, n_b, item = take_array(&a, &of_a, &n_a);

    FUZZ_CHECK(take_array(&b, &of_b, &n_b) == item && n_a == n_b && memcmp(&a, &b, sizeof a) == 0);
    if (a.type == COMMAND_FOUND) {
        check_same_nodes(of_a, of_b, n_a);
    } else if (n_a > 0) {
        FUZZ_CHECK(memcmp(of_a, of_b, n_a * item) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct command was, is;
    size_t len, len_again, counted;
    int r = command_decode(data, size, scratch, sizeof scratch, &was);

    if (r != 0) {
        FUZZ_CHECK(r == -EBADMSG || r == -EPROTONOSUPPORT);
        return 0;
    }
    FUZZ_CHECK(command_encode(&was, bytes, sizeof bytes, &len) == 0 && len <= size);
    FUZZ_CHECK(command_encode(&was, NULL, 0, &counted) == 0 && counted == len);
    FUZZ_CHECK(command_encode(&was, bytes_again, len - 1, &counted) == -ENOBUFS);
    FUZZ_CHECK(command_decode(bytes, len, scratch_again, sizeof scratch_again, &is) == 0 && is.type == was.type);
    check_same(was, is);
    FUZZ_CHECK(command_encode(&is, bytes_again, sizeof bytes_again, &len_again) == 0);
    FUZZ_CHECK(len == len_again && memcmp(bytes, bytes_again, len) == 0);
    /* Too little memory for the arrays is told, or there was no array. */
    r = command_decode(bytes, len, scratch_again, 0, &is);
    FUZZ_CHECK(r == 0 || r == -ENOBUFS);
    return 0;
}
