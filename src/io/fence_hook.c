#include "io/fence_hook.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READINGS_MAX 8
#define HANDLE_MASK (FENCE_SEATS_MAX * 2u - 1u) /* seat and mark */

typedef void visit_fn(const struct nlmsghdr *message, void *context);

struct request
{
    struct nlmsghdr header;
    struct tcmsg tc;
};

static const struct rtattr *attr_find(const void *first, size_t len, unsigned short type)
{
    const struct rtattr *attr = first;
    while (len >= sizeof(*attr) && attr->rta_len >= sizeof(*attr) && attr->rta_len <= len) {
        if ((attr->rta_type & NLA_TYPE_MASK) == type) {
            return attr;
        }
        size_t step = RTA_ALIGN((size_t)attr->rta_len);
        if (step >= len) {
            return NULL;
        }
        attr = (const struct rtattr *)((const char *)attr + step);
        len -= step;
    }
    return NULL;
}

static const struct rtattr *message_attr(const struct nlmsghdr *message, unsigned short type)
{
    size_t head = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct tcmsg)));
    if (message->nlmsg_len < head) {
        return NULL;
    }
    return attr_find((const char *)message + head, message->nlmsg_len - head, type);
}

static const struct rtattr *nested_attr(const struct rtattr *attr, unsigned short type)
{
    return attr ? attr_find(RTA_DATA(attr), RTA_PAYLOAD(attr), type) : NULL;
}

static uint32_t attr_u32(const struct rtattr *attr)
{
    uint32_t value = 0;
    if (attr && RTA_PAYLOAD(attr) >= sizeof(value)) {
        memcpy(&value, RTA_DATA(attr), sizeof(value));
    }
    return value;
}

static bool attr_text_is(const struct rtattr *attr, const char *text)
{
    size_t len = strlen(text) + 1;
    return attr && RTA_PAYLOAD(attr) >= len && memcmp(RTA_DATA(attr), text, len) == 0;
}

static bool attr_text_begins(const struct rtattr *attr, const char *text)
{
    size_t len = strlen(text);
    return attr && RTA_PAYLOAD(attr) > len && memcmp(RTA_DATA(attr), text, len) == 0;
}

/* Visits the answers to one dump. 0, -errno, or -EAGAIN when the kernel says that it changed meanwhile. */
static int dump_receive(int fd, visit_fn *visit, void *context)
{
    bool interrupted = false;
    char buffer[32768] __attribute__((aligned(NLMSG_ALIGNTO)));
    for (;;) {
        ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return -errno;
        }
        size_t left = (size_t)got;
        const struct nlmsghdr *message = (const struct nlmsghdr *)buffer;
        for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
            interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
            if (message->nlmsg_type == NLMSG_DONE) {
                return interrupted ? -EAGAIN : 0;
            }
            if (message->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *error = NLMSG_DATA(message);
                return error->error < 0 ? error->error : -EPROTO;
            }
            visit(message, context);
        }
    }
}

static int dump(uint16_t type, int ifindex, uint32_t parent, visit_fn *visit, void *context)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return -errno;
    }
    struct request request = {
        .header = {.nlmsg_len = sizeof(request), .nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .tc = {.tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex, .tcm_parent = parent},
    };
    int r = send(fd, &request, sizeof(request), 0) < 0 ? -errno : dump_receive(fd, visit, context);
    (void)close(fd);
    return r;
}

struct hook_search
{
    struct fence_hook hook;
    unsigned n_asked; /* others' filters that are asked without a jump */
};

static bool is_ours(uint32_t handle, const struct rtattr *options)
{
    return (handle & ~HANDLE_MASK) == FENCE_HANDLE_BASE &&
           attr_text_begins(nested_attr(options, TCA_BPF_NAME), FENCE_PROGRAM_PREFIX);
}

static void note_place(struct fence_hook *hook, const struct tcmsg *tc, uint32_t priority, bool bpf)
{
    bool beside = bpf && TC_H_MIN(tc->tcm_info) == htons(ETH_P_ALL);
    if (!beside && priority >= 1 && priority <= FENCE_PRIORITIES_MAX) {
        hook->priorities_taken |= 1u << (priority - 1);
    }
    if ((tc->tcm_handle & ~HANDLE_MASK) == FENCE_HANDLE_BASE) {
        hook->seats_taken |= 1u << ((tc->tcm_handle & HANDLE_MASK) >> 1);
    }
}

/* One filter; the kernel sends them in the order in which it asks them. A priority has one kind of classifier and one
 * protocol, which a message with handle 0 tells first. */
static void visit_filter(const struct nlmsghdr *message, void *context)
{
    struct hook_search *search = context;
    struct fence_hook *hook = &search->hook;
    const struct tcmsg *tc = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWTFILTER || message->nlmsg_len < NLMSG_LENGTH(sizeof(*tc))) {
        return;
    }
    if (attr_u32(message_attr(message, TCA_CHAIN)) != 0) {
        hook->n_others++;
        return;
    }
    uint32_t priority = TC_H_MAJ(tc->tcm_info) >> 16;
    bool bpf = attr_text_is(message_attr(message, TCA_KIND), "bpf");
    note_place(hook, tc, priority, bpf);
    if (tc->tcm_handle == 0) {
        return;
    }
    const struct rtattr *options = message_attr(message, TCA_OPTIONS);
    if (!bpf || !is_ours(tc->tcm_handle, options)) {
        hook->n_others++;
        search->n_asked++;
        return;
    }
    if (hook->n_ours == FENCE_SEATS_MAX) {
        return; /* the same handle at many priorities, by hand */
    }
    if (hook->n_ours == 0) {
        hook->first = search->n_asked == 0;
    }
    hook->ours[hook->n_ours++] = (struct fence_seat){
        .handle = tc->tcm_handle,
        .priority = (uint16_t)priority,
        .prog_id = attr_u32(nested_attr(options, TCA_BPF_ID)),
    };
}

int fence_hook_read(int ifindex, enum fence_side side, struct fence_hook *ret)
{
    uint32_t parent = TC_H_MAKE(TC_H_CLSACT, side == FENCE_IN ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    for (unsigned i = 0; i < READINGS_MAX; i++) {
        struct hook_search search = {0};
        int r = dump(RTM_GETTFILTER, ifindex, parent, visit_filter, &search);
        if (r == 0) {
            *ret = search.hook;
        }
        if (r != -EAGAIN) {
            return r;
        }
    }
    return -EAGAIN;
}

struct qdisc_search
{
    int ifindex;
    enum fence_qdisc found;
};

static void visit_qdisc(const struct nlmsghdr *message, void *context)
{
    struct qdisc_search *search = context;
    const struct tcmsg *tc = NLMSG_DATA(message);
    if (message->nlmsg_type != RTM_NEWQDISC || message->nlmsg_len < NLMSG_LENGTH(sizeof(*tc)) ||
        tc->tcm_ifindex != search->ifindex || tc->tcm_parent != TC_H_CLSACT) {
        return;
    }
    bool clsact = attr_text_is(message_attr(message, TCA_KIND), "clsact");
    search->found = clsact ? FENCE_QDISC_CLSACT : FENCE_QDISC_INGRESS;
}

int fence_qdisc_read(int ifindex, enum fence_qdisc *ret)
{
    for (unsigned i = 0; i < READINGS_MAX; i++) {
        struct qdisc_search search = {.ifindex = ifindex};
        int r = dump(RTM_GETQDISC, ifindex, 0, visit_qdisc, &search);
        if (r == 0) {
            *ret = search.found;
        }
        if (r != -EAGAIN) {
            return r;
        }
    }
    return -EAGAIN;
}
