#ifndef VIPD_TESTS_FUZZ_SEEDS_H
#define VIPD_TESTS_FUZZ_SEEDS_H

/* What the files of corpus/ are made of; see seeds.c. */

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/err.h"

/* One seed: the file corpus/TARGET/seed-NAME. */
void seed(const char *target, const char *name, const void *bytes, size_t len);
/* Ends the program unless `good`: a seed that cannot be made is a bug of this generator. */
void seed_need(bool good, const char *what);
struct prefix seed_prefix(const char *text);
struct endpoint seed_endpoint(const char *text);

void seeds_log(void);     /* seeds_log.c: command, log, snapshot */
void seeds_peers(void);   /* seeds_peers.c: heartbeat, hello, report, raft_message, frame */
void seeds_outside(void); /* seeds_outside.c: control, value, arp_nd, config */

#endif
