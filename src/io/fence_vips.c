/* The set of VIPs in the kernel. */

#include "io/fence_private.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "io/fence_map.h"

_Static_assert(FENCE_VIPS_MAX == VIPS_MAX, "the kernel's set must have room for the whole table");

static int key_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct fence_key));
}

static int key_make(const struct addr *vip, struct fence_key *ret)
{
    if (vip->family != 4 && vip->family != 6) {
        return fence_fail(-EINVAL, "the kernel fence was given something that is not an address");
    }
    *ret = (struct fence_key){.family = vip->family};
    memcpy(ret->addr, vip->bytes, addr_bits(vip) / 8);
    return 0;
}

static int vips_fail(int r)
{
    if (r == -E2BIG) {
        return fence_fail(-ENOSPC, "the kernel fence has room for %d VIPs and no more", FENCE_VIPS_MAX);
    }
    return fence_fail(r, "cannot change the kernel fence's VIPs: %s", strerror(-r));
}

/* The set as it is in the kernel, sorted; keys has room for FENCE_VIPS_MAX. The map is asked and not a copy of ours, so
 * that a half-done replacement needs no care. */
static int vips_read(const struct fence *fence, struct fence_key *keys, uint8_t *values, uint32_t *ret_n)
{
    uint32_t n = FENCE_VIPS_MAX, cursor = 0;
    int r = bpf_map_lookup_batch(fence->vips_fd, NULL, &cursor, keys, values, &n, NULL);
    if (r < 0 && r != -ENOENT) { /* which says: that was all */
        return vips_fail(r);
    }
    qsort(keys, n, sizeof(*keys), key_compare);
    *ret_n = n;
    return 0;
}

/* Moves to the front of `keys` those that are not in `others`, both sorted, and returns their number. */
static uint32_t keys_minus(struct fence_key *keys, uint32_t n, const struct fence_key *others, uint32_t n_others)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool again = kept > 0 && key_compare(&keys[kept - 1], &keys[i]) == 0;
        if (!again && !bsearch(&keys[i], others, n_others, sizeof(*others), key_compare)) {
            keys[kept++] = keys[i];
        }
    }
    return kept;
}

/* What this needs while it works; about a megabyte, so not on the stack. */
struct replacement
{
    struct fence_key wanted[FENCE_VIPS_MAX], actual[FENCE_VIPS_MAX], surplus[FENCE_VIPS_MAX];
    uint8_t values[FENCE_VIPS_MAX];
};

static int vips_replace(struct fence *fence, struct replacement *work, const struct addr *vips, size_t n)
{
    uint32_t n_wanted = (uint32_t)n, n_actual = 0;
    for (size_t i = 0; i < n; i++) {
        int r = key_make(&vips[i], &work->wanted[i]);
        if (r < 0) {
            return r;
        }
    }
    qsort(work->wanted, n_wanted, sizeof(work->wanted[0]), key_compare);
    int r = vips_read(fence, work->actual, work->values, &n_actual);
    if (r < 0) {
        return r;
    }
    memcpy(work->surplus, work->actual, n_actual * sizeof(work->actual[0]));
    uint32_t n_surplus = keys_minus(work->surplus, n_actual, work->wanted, n_wanted);
    uint32_t n_missing = keys_minus(work->wanted, n_wanted, work->actual, n_actual);
    /* Deleting first makes room; what leaves is no VIP any more, and what comes is on no interface yet. */
    r = n_surplus ? bpf_map_delete_batch(fence->vips_fd, work->surplus, &n_surplus, NULL) : 0;
    if (r == 0 && n_missing) {
        memset(work->values, 1, n_missing);
        r = bpf_map_update_batch(fence->vips_fd, work->wanted, work->values, &n_missing, NULL);
    }
    return r ? vips_fail(r) : 0;
}

int fence_vips_replace(struct fence *fence, const struct addr *vips, size_t n)
{
    if (n > FENCE_VIPS_MAX) {
        return vips_fail(-E2BIG);
    }
    struct replacement *work = malloc(sizeof(*work));
    if (!work) {
        return vips_fail(-ENOMEM);
    }
    int r = vips_replace(fence, work, vips, n);
    free(work);
    fence->vips_set = fence->vips_set || r == 0;
    return r;
}

int fence_vip_add(struct fence *fence, const struct addr *vip)
{
    struct fence_key key;
    const uint8_t value = 1;
    int r = key_make(vip, &key);
    if (r < 0) {
        return r;
    }
    r = bpf_map_update_elem(fence->vips_fd, &key, &value, BPF_ANY);
    return r ? vips_fail(r) : 0;
}

int fence_vip_del(struct fence *fence, const struct addr *vip)
{
    struct fence_key key;
    int r = key_make(vip, &key);
    if (r < 0) {
        return r;
    }
    r = bpf_map_delete_elem(fence->vips_fd, &key);
    return r && r != -ENOENT ? vips_fail(r) : 0;
}
