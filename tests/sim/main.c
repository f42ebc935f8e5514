/* sim: runs seeds, and shortens the schedule of one that fails. */

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "sim.h"

static const struct
{
    const char *name, *what;
} RULES[SIM_RULES_N] = {
#define SIM_RULE_TEXT(label, text) [SIM_RULE_##label] = {#label, text},
    SIM_RULES(SIM_RULE_TEXT)
#undef SIM_RULE_TEXT
};

static const char *USAGE =
    "usage: sim [--seeds A..B] [--faults N] [--seconds S] [--break RULE[,RULE...]] [--want safety|foreign|liveness|any]\n"
    "       sim --trace SEED [--faults N] [--break RULE]     prints everything that happens\n"
    "       sim --twice SEED                                 runs a seed twice and compares\n"
    "       sim --rules                                      the rules that can be broken\n"
    "\n"
    "  --seeds A..B       the seeds to run (1..100)\n"
    "  --faults N         planned faults of a seed (200, at most 4096)\n"
    "  --seconds S        faults stop after S simulated seconds of a seed, at the latest\n"
    "  --break RULE       the rule is not kept\n"
    "  --maintenance      somebody maintains the nodes, one after the other, all the while\n"
    "  --want KIND        succeed when a violation of that kind is found, fail when none is; others are passed over\n";

static struct schedule schedule, shorter;

static double cpu_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static const char *violation_text(enum violation violation)
{
    static const char *const TEXTS[] = {"none", "SAFETY", "FOREIGN", "LIVENESS", "BUG"};

    return TEXTS[violation];
}

/* ------------------------------------------------------------------ a shorter schedule */

static bool still_fails(uint64_t seed, const struct options *options, enum violation kind)
{
    struct sim_stats stats = {0};

    return run_seed(seed, options, &shorter, true, &stats) == kind;
}

/* Leaves out as many faults as it can, in halves, quarters, ..., one by one, while the same kind of violation comes. */
static void shorten(uint64_t seed, const struct options *options, enum violation kind)
{
    unsigned runs = 0;

    for (unsigned size = schedule.n / 2; size > 0 && runs < 400; size /= 2) {
        for (unsigned at = 0; at < schedule.n && runs < 400;) {
            unsigned n = at + size < schedule.n ? size : schedule.n - at;
            shorter = schedule;
            memmove(&shorter.list[at], &shorter.list[at + n], (shorter.n - at - n) * sizeof shorter.list[0]);
            shorter.n -= n;
            runs++;
            if (still_fails(seed, options, kind)) {
                schedule = shorter;
            } else {
                at += n;
            }
        }
    }
}

static void report_violation(uint64_t seed, const struct options *options, enum violation kind, bool shortened)
{
    struct sim_stats stats = {0};

    printf("seed %llu: %s: %s\n", (unsigned long long)seed, violation_text(kind), world.what);
    printf("  at %.4f s, hash %016llx, %u faults planned\n", (double)world.now / 1e9, (unsigned long long)world.hash,
           schedule.n);
    if (!shortened) {
        return;
    }
    shorten(seed, options, kind);
    shorter = schedule;
    (void)run_seed(seed, options, &shorter, true, &stats);
    printf("  with %u faults: %s, at %.4f s\n", schedule.n, world.what, (double)world.now / 1e9);
    for (unsigned i = 0; i < schedule.n; i++) {
        if (schedule.list[i].at <= world.now) {
            printf("    ");
            faults_print(stdout, &schedule.list[i]);
        }
    }
}

/* ------------------------------------------------------------------ runs */

static void print_stats(const struct sim_stats *s, double cpu, uint64_t seeds)
{
    printf("seeds %llu, faults %llu, simulated %.0f s, %.0f s of them a second, cpu %.1f s\n", (unsigned long long)seeds,
           (unsigned long long)s->fault_total, (double)s->sim_ns / 1e9, (double)s->sim_ns / 1e9 / cpu, cpu);
    printf("faults:");
    for (int i = 0; i < FAULT_KINDS_N; i++) {
        printf(" %s %llu", FAULT_NAMES[i], (unsigned long long)s->faults[i]);
    }
    printf("; in the middle of a step or write %llu, ambushes sprung %llu\n", (unsigned long long)s->armed_hits,
           (unsigned long long)s->sprung);
    printf("messages %llu, lost %llu, repeated %llu, very late %llu, overflowed %llu\n",
           (unsigned long long)s->messages.sent, (unsigned long long)s->messages.lost,
           (unsigned long long)s->messages.repeated, (unsigned long long)s->messages.late,
           (unsigned long long)s->messages.overflowed);
    printf("steps of the core %llu, turns %llu, events %llu, starts %llu, snapshots %llu\n", (unsigned long long)s->steps,
           (unsigned long long)s->turns, (unsigned long long)s->events, (unsigned long long)s->restarts,
           (unsigned long long)s->snapshots);
    printf("members joined %llu, left %llu, changes of voters %llu, snapshots taken from a leader %llu\n",
           (unsigned long long)s->joined, (unsigned long long)s->removed, (unsigned long long)s->voter_changes,
           (unsigned long long)s->installed);
    printf("leaders %llu, fences %llu, clears %llu, admits %llu, moves %llu, announcements %llu\n",
           (unsigned long long)s->elections, (unsigned long long)s->fences, (unsigned long long)s->clears,
           (unsigned long long)s->admits, (unsigned long long)s->moves, (unsigned long long)s->announcements);
    if (s->turns_seen > 0) {
        printf("maintenance: %llu entries in a node's turn, %llu went to their end after the faults\n",
               (unsigned long long)s->turns_seen, (unsigned long long)s->maintained);
    }
    printf("changes acknowledged %llu, refused %llu, given up %llu\n", (unsigned long long)s->changes,
           (unsigned long long)s->changes_refused, (unsigned long long)s->changes_lost);
    printf("after the last fault: all held within %.2f s (seed %llu), spread even within %.2f s (seed %llu)\n",
           (double)s->held_ns_worst / 1e9, (unsigned long long)s->held_seed, (double)s->even_ns_worst / 1e9,
           (unsigned long long)s->even_seed);
}

static int break_rules(char *list)
{
    for (char *name = strtok(list, ","); name != NULL; name = strtok(NULL, ",")) {
        int i = 0;
        while (i < SIM_RULES_N && strcmp(RULES[i].name, name) != 0) {
            i++;
        }
        if (i == SIM_RULES_N) {
            fprintf(stderr, "sim: no such rule: %s\n", name);
            return -1;
        }
        sim_broken[i] = true;
    }
    return 0;
}

static int run_twice(uint64_t seed, const struct options *options)
{
    struct sim_stats stats = {0};
    uint64_t hashes[2];

    for (int i = 0; i < 2; i++) {
        (void)run_seed(seed, options, &schedule, false, &stats);
        hashes[i] = world.hash;
    }
    printf("seed %llu: %016llx and %016llx\n", (unsigned long long)seed, (unsigned long long)hashes[0],
           (unsigned long long)hashes[1]);
    return hashes[0] != hashes[1];
}

static bool is_wanted(enum violation violation, const char *want)
{
    return strcmp(want, "any") == 0 || strcasecmp(want, violation_text(violation)) == 0;
}

static int run_seeds(uint64_t from, uint64_t to, const struct options *options, const char *want, bool brief)
{
    struct sim_stats stats = {0};
    uint64_t hash = 0;
    double begun = cpu_seconds();

    for (uint64_t seed = from; seed <= to; seed++) {
        enum violation violation = run_seed(seed, options, &schedule, false, &stats);
        hash = hash * 31 + world.hash;
        if (violation == VIOLATION_NONE || (want != NULL && !is_wanted(violation, want))) {
            continue;
        }
        if (want != NULL) {
            printf("found after %llu seeds (seed %llu): %s: %s\n", (unsigned long long)(seed - from + 1),
                   (unsigned long long)seed, violation_text(violation), world.what);
            return 0;
        }
        report_violation(seed, options, violation, !brief);
        return 1;
    }
    print_stats(&stats, cpu_seconds() - begun, to - from + 1);
    printf("hash %016llx\n", (unsigned long long)hash);
    return want != NULL;
}

int main(int argc, char **argv)
{
    static const struct option OPTIONS[] = {
        {"seeds", required_argument, NULL, 's'},   {"faults", required_argument, NULL, 'f'},
        {"seconds", required_argument, NULL, 'S'}, {"break", required_argument, NULL, 'b'},
        {"trace", required_argument, NULL, 't'},   {"twice", required_argument, NULL, '2'},
        {"rules", no_argument, NULL, 'r'},         {"want", required_argument, NULL, 'w'},
        {"maintenance", no_argument, NULL, 'm'},   {"brief", no_argument, NULL, 'q'},         {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {.faults = 200};
    uint64_t from = 1, to = 100, trace = 0, twice = 0;
    bool brief = false;
    char *dots;
    const char *want = NULL;

    for (int option; (option = getopt_long(argc, argv, "h", OPTIONS, NULL)) != -1;) {
        switch (option) {
        case 's':
            from = to = strtoull(optarg, &dots, 10);
            if (strncmp(dots, "..", 2) == 0) {
                to = strtoull(dots + 2, NULL, 10);
            }
            break;
        case 'f':
            options.faults = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'S':
            options.seconds = strtoull(optarg, NULL, 10);
            break;
        case 'b':
            if (break_rules(optarg) < 0) {
                return 2;
            }
            break;
        case 't':
            trace = strtoull(optarg, NULL, 10);
            break;
        case '2':
            twice = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            want = optarg;
            break;
        case 'm':
            options.maintenance = true;
            break;
        case 'q':
            brief = true;
            break;
        case 'r':
            for (int i = 0; i < SIM_RULES_N; i++) {
                printf("%-12s %s\n", RULES[i].name, RULES[i].what);
            }
            return 0;
        case 'h':
            printf("%s", USAGE);
            return 0;
        default:
            fprintf(stderr, "%s", USAGE);
            return 2;
        }
    }
    if (trace != 0) {
        struct sim_stats stats = {0};
        options.trace = true;
        return run_seed(trace, &options, &schedule, false, &stats) != VIOLATION_NONE;
    }
    return twice != 0 ? run_twice(twice, &options) : run_seeds(from, to, &options, want, brief);
}
