/* Which nodes are able to own each VIP.
 *
 * That is asked for every VIP and node, and a node's answer depends on its interfaces. VIPs share few networks: so the
 * networks that nodes are in are listed once, and VIPs that lie in the same of them and want the same interface get the
 * same answer. When the nodes are in more networks than fit in the list, each VIP is looked up by itself. */

#include <string.h>

#include "core/plan_private.h"

#define NETWORKS_MAX 64
#define ANSWERS 16

struct answer_of
{
    bool known;
    uint64_t networks; /* set of those that the VIP lies in */
    char dev[DEV_SIZE];
    uint64_t nodes; /* with a link that is up for it */
};

struct networks
{
    bool too_many;
    unsigned n;
    struct prefix list[NETWORKS_MAX];
    struct answer_of answers[ANSWERS];
};

static void add_network(struct networks *networks, const struct prefix *prefix)
{
    for (unsigned i = 0; i < networks->n; i++) {
        if (networks->list[i].len == prefix->len && prefix_contains(&networks->list[i], &prefix->addr)) {
            return;
        }
    }
    if (networks->n == NETWORKS_MAX) {
        networks->too_many = true;
        return;
    }
    networks->list[networks->n++] = *prefix;
}

static void list_networks(const struct plan *plan, struct networks *networks)
{
    for (int node = 0; node < NODES_MAX; node++) {
        const struct node *at = &plan->table->nodes[node];

        for (int i = 0; plan_in(plan->base, node) && i < at->n_links; i++) {
            for (int k = 0; k < at->links[i].n_prefixes && !networks->too_many; k++) {
                add_network(networks, &at->links[i].prefixes[k]);
            }
        }
    }
}

static uint64_t with_link(const struct plan *plan, const struct vip *vip)
{
    uint64_t nodes = 0;

    for (uint64_t left = plan->base; left != 0; left &= left - 1) {
        int node = __builtin_ctzll(left);
        const struct link *link = table_link_for(plan->table, node, vip);

        if (link != NULL && link->up) {
            nodes |= 1ull << node;
        }
    }
    return nodes;
}

static uint64_t remembered(const struct plan *plan, struct networks *networks, const struct vip *vip)
{
    uint64_t in = 0;
    struct answer_of *answer;

    for (unsigned i = 0; i < networks->n; i++) {
        in |= (uint64_t)prefix_contains(&networks->list[i], &vip->address.addr) << i;
    }
    answer = &networks->answers[(in ^ in >> 4 ^ (uint64_t)vip->dev[0]) % ANSWERS];
    if (!answer->known || answer->networks != in || strcmp(answer->dev, vip->dev) != 0) {
        answer->known = true;
        answer->networks = in;
        memcpy(answer->dev, vip->dev, sizeof answer->dev);
        answer->nodes = with_link(plan, vip);
    }
    return answer->nodes;
}

void plan_able(struct plan *plan)
{
    struct networks networks;

    memset(&networks, 0, sizeof networks);
    list_networks(plan, &networks);
    for (int slot = 0; slot < plan->table->vips_end; slot++) {
        const struct vip *vip = &plan->table->vips[slot];

        if ((plan->scratch->aux[slot] & PLAN_ACTIVE) != 0) {
            uint64_t nodes = networks.too_many ? with_link(plan, vip) : remembered(plan, &networks, vip);

            plan->scratch->able[slot] = table_passing(plan->table, vip, vip->nodes == 0 ? nodes : nodes & vip->nodes);
        }
    }
}
