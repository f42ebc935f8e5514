/* The daemon's half of the kernel fence; fence.bpf.c is the kernel's. */

#include "io/fence_private.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/pkt_cls.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "fence.skel.h"
#include "io/fence_map.h"

/* An abstract socket lives in its network namespace and dies with its process: the name is a lock on the namespace's
 * hooks. Two daemons there would replace each other's programs, and each would believe itself fenced. */
#define LOCK_NAME "vipd-fence"

static _Thread_local char error_text[512];
static _Thread_local char libbpf_text[256]; /* the first warning since it was emptied */

const char *fence_error(void)
{
    return error_text;
}

int fence_fail(int r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error_text, sizeof(error_text), format, args);
    va_end(args);
    return r;
}

PRINTF(2, 0) static int on_libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
    if (level == LIBBPF_WARN && libbpf_text[0] == '\0') {
        int n = vsnprintf(libbpf_text, sizeof(libbpf_text), format, args);
        if (n > 0) {
            libbpf_text[strcspn(libbpf_text, "\n")] = '\0';
        }
    }
    return 0;
}

const char *fence_libbpf_text(void)
{
    return libbpf_text;
}

void fence_libbpf_listen(void)
{
    libbpf_text[0] = '\0';
    (void)libbpf_set_print(on_libbpf_print);
}

/* ------------------------------------------------------------------------------------------------- open and close */

static bool has_capability(unsigned capability)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &head, data) != 0) {
        return true; /* then the kernel's own words must do */
    }
    return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
}

/* Turns what the kernel said to a load into what is missing. */
static int explain_load(int r)
{
    struct utsname kernel = {0};
    (void)uname(&kernel);
    bool bpf = has_capability(CAP_BPF) || has_capability(CAP_SYS_ADMIN);
    bool net = has_capability(CAP_NET_ADMIN);
    if ((r == -EPERM || r == -EACCES) && !(bpf && net)) {
        return fence_fail(-EPERM, "cannot load the kernel fence: missing %s%s%s", bpf ? "" : "CAP_BPF",
                          bpf || net ? "" : " and ", net ? "" : "CAP_NET_ADMIN");
    }
    if (r == -EPERM) {
        return fence_fail(-EPERM,
                          "cannot load the kernel fence: not permitted (kernel %s; before 5.11 it needs "
                          "CAP_SYS_RESOURCE or a higher RLIMIT_MEMLOCK; a security module may forbid bpf()): %s",
                          kernel.release, libbpf_text);
    }
    if (r == -ENOMEM) {
        return fence_fail(r, "cannot load the kernel fence: out of memory");
    }
    return fence_fail(-EOPNOTSUPP,
                      "cannot load the kernel fence: kernel %s does not support it (needed: Linux 5.8 with "
                      "CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF, CONFIG_NET_CLS_ACT, CONFIG_NET_SCH_INGRESS%s): %s: %s",
                      kernel.release, has_capability(CAP_PERFMON) ? "" : "; with CAP_PERFMON it checks less strictly",
                      strerror(-r), libbpf_text);
}

int fence_lock(int *ret_fd)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path + 1, LOCK_NAME, sizeof(LOCK_NAME) - 1); /* the leading NUL makes it abstract */
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(LOCK_NAME));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return fence_fail(-errno, "cannot lock the kernel fence: %s", strerror(errno));
    }
    if (bind(fd, (const struct sockaddr *)&name, len) != 0) {
        int r = -errno;
        (void)close(fd);
        if (r == -EADDRINUSE) {
            return fence_fail(r, "another vipd runs in this network namespace");
        }
        return fence_fail(r, "cannot lock the kernel fence: %s", strerror(-r));
    }
    *ret_fd = fd;
    return 0;
}

static size_t lease_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static int map_lease(struct fence *fence)
{
    int fd = bpf_map__fd(fence->skeleton->maps.lease);
    void *memory = mmap(NULL, lease_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return fence_fail(-errno, "cannot map the kernel fence's lease: %s", strerror(errno));
    }
    fence->lease = memory;
    return 0;
}

static int note_program(struct fence *fence, bool bare, enum fence_side side, const struct bpf_program *program)
{
    struct bpf_prog_info info = {0};
    uint32_t len = sizeof(info);
    int fd = bpf_program__fd(program);
    int r = bpf_obj_get_info_by_fd(fd, &info, &len);
    if (r < 0) {
        return fence_fail(r, "cannot read the kernel fence's program id: %s", strerror(-r));
    }
    fence->prog_fd[bare][side] = fd;
    fence->prog_id[bare][side] = info.id;
    return 0;
}

static int note_programs(struct fence *fence)
{
    fence->vips_fd = bpf_map__fd(fence->skeleton->maps.vips);
    int r = note_program(fence, false, FENCE_IN, fence->skeleton->progs.vipd_in);
    r = r ? r : note_program(fence, false, FENCE_OUT, fence->skeleton->progs.vipd_out);
    r = r ? r : note_program(fence, true, FENCE_IN, fence->skeleton->progs.vipd_in_bare);
    return r ? r : note_program(fence, true, FENCE_OUT, fence->skeleton->progs.vipd_out_bare);
}

static uint64_t boottime_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0) {
        abort(); /* Linux 2.6.39 has it */
    }
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* An ARP request for 192.0.2.1 (RFC 5737: nobody's) under a lease that runs and under one that ends now. */
static int self_test(struct fence *fence)
{
    static const uint8_t frame[64] = {
        [0] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 0x08, 0x06, [14] = 0, 1, 8, 0, 6, 4, 0, 1,
        [28] = 192, 0, 2, 2, [38] = 192, 0, 2, 1,
    };
    static const struct addr nobody = {.family = 4, .bytes = {192, 0, 2, 1}};
    bool while_leased = true, afterwards = false;
    uint32_t ns;
    int r = fence_vip_add(fence, &nobody);
    if (r < 0) {
        return r;
    }
    fence_set_lease(fence, boottime_ns() + 60 * 1000000000ull);
    r = fence_try(fence, FENCE_IN, false, frame, sizeof(frame), 1, &while_leased, &ns);
    fence_set_lease(fence, boottime_ns());
    r = r ? r : fence_try(fence, FENCE_IN, false, frame, sizeof(frame), 1, &afterwards, &ns);
    fence_set_lease(fence, 0);
    int deleted = fence_vip_del(fence, &nobody);
    r = r ? r : deleted;
    if (r < 0) {
        return r;
    }
    if (while_leased || !afterwards) {
        return fence_fail(-EOPNOTSUPP,
                          "the kernel fence fails its self-test: it %s (does a time namespace shift CLOCK_BOOTTIME?)",
                          while_leased ? "drops under a running lease" : "passes after the lease's end");
    }
    return 0;
}

int fence_open(struct fence **ret)
{
    struct fence *fence = calloc(1, sizeof(*fence));
    if (!fence) {
        return fence_fail(-ENOMEM, "cannot open the kernel fence: out of memory");
    }
    fence->lock_fd = -1;
    int r = fence_lock(&fence->lock_fd);
    if (r == 0) {
        fence_libbpf_listen();
        fence->skeleton = fence_bpf__open_and_load();
        r = fence->skeleton ? 0 : explain_load(-errno);
    }
    r = r ? r : map_lease(fence);
    r = r ? r : note_programs(fence);
    r = r ? r : self_test(fence);
    if (r < 0) {
        fence_close(fence, false);
        return r;
    }
    *ret = fence;
    return 0;
}

int fence_close(struct fence *fence, bool remove)
{
    if (!fence) {
        return 0;
    }
    int r = remove ? fence_place_remove_everywhere() : 0;
    if (fence->lease) {
        (void)munmap(fence->lease, lease_size());
    }
    fence_bpf__destroy(fence->skeleton);
    if (fence->lock_fd >= 0) {
        (void)close(fence->lock_fd);
    }
    free(fence);
    return r;
}

int fence_remove_left(void)
{
    return fence_place_remove_everywhere();
}

int fence_remove_all(void)
{
    int lock_fd;
    int r = fence_lock(&lock_fd);
    if (r < 0) {
        return r == -EADDRINUSE ? -EBUSY : r;
    }
    r = fence_place_remove_everywhere();
    (void)close(lock_fd);
    return r;
}

/* ------------------------------------------------------------------------------------------- lease, counters, trial */

void fence_set_lease(struct fence *fence, uint64_t end_boottime_ns)
{
    __atomic_store_n(fence->lease, fence->sealed ? 0 : end_boottime_ns, __ATOMIC_RELEASE);
}

void fence_seal(struct fence *fence)
{
    fence->sealed = true;
    fence_set_lease(fence, 0);
}

uint64_t fence_lease(const struct fence *fence)
{
    return __atomic_load_n(fence->lease, __ATOMIC_ACQUIRE);
}

int fence_stats(const struct fence *fence, struct fence_stats *ret)
{
    int n_cpus = libbpf_num_possible_cpus();
    if (n_cpus < 0) {
        return fence_fail(n_cpus, "cannot count the CPUs: %s", strerror(-n_cpus));
    }
    uint64_t *each = calloc((size_t)n_cpus, sizeof(*each));
    if (!each) {
        return fence_fail(-ENOMEM, "cannot read the kernel fence's counters: out of memory");
    }
    uint64_t sums[FENCE_DROPS_N] = {0};
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < FENCE_DROPS_N; i++) {
        r = bpf_map_lookup_elem(bpf_map__fd(fence->skeleton->maps.drops), &i, each);
        for (int cpu = 0; r == 0 && cpu < n_cpus; cpu++) {
            sums[i] += each[cpu];
        }
    }
    free(each);
    if (r < 0) {
        return fence_fail(r, "cannot read the kernel fence's counters: %s", strerror(-r));
    }
    *ret = (struct fence_stats){
        .arp_in = sums[FENCE_DROP_ARP_IN],
        .nd_in = sums[FENCE_DROP_ND_IN],
        .ip_in = sums[FENCE_DROP_IP_IN],
        .arp_out = sums[FENCE_DROP_ARP_OUT],
        .nd_out = sums[FENCE_DROP_ND_OUT],
        .ip_out = sums[FENCE_DROP_IP_OUT],
        .unreadable = sums[FENCE_DROP_UNREADABLE],
    };
    return 0;
}

int fence_try(const struct fence *fence, enum fence_side side, bool bare, const void *frame, size_t len,
              uint32_t repeat, bool *ret_dropped, uint32_t *ret_ns)
{
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len, .repeat = (int)repeat);
    int r = bpf_prog_test_run_opts(fence->prog_fd[bare][side], &opts);
    if (r < 0) {
        return fence_fail(r, "cannot try the kernel fence: %s", strerror(-r));
    }
    if (opts.retval != TC_ACT_SHOT && opts.retval != (uint32_t)TC_ACT_UNSPEC) {
        return fence_fail(-EPROTO, "the kernel fence gave verdict %u", opts.retval);
    }
    *ret_dropped = opts.retval == TC_ACT_SHOT;
    *ret_ns = opts.duration;
    return 0;
}
