#ifndef VIPD_CORE_TARGET_H
#define VIPD_CORE_TARGET_H

/* What a health check looks at, as text:
 *
 *     http     http://ADDRESS[:PORT][/PATH]   passes when the answer's status is 2xx or 3xx
 *     tcp      ADDRESS:PORT                   a connection is accepted
 *     exec     NAME                           of a program in the node's own directory of checks; it ends with 0
 *     process  NAME                           a process of that name runs
 *     file     /PATH                          it exists
 *     ping     ADDRESS or gateway             an echo is answered; gateway: the node's default router
 *
 * Addresses only: a name would make a health check depend on a name server. */

#include <stdbool.h>

#include "core/table.h"

#define TARGET_PROCESS_MAX 15 /* bytes of a process's name: the kernel keeps no more */

struct target
{
    struct endpoint at; /* http, tcp; ping: without a port; family 0 for the gateway */
    const char *text;   /* http: the path, or ""; exec, process, file: all of it. Within the text that was read */
    int host_len;       /* http: bytes of the Host header ... */
    const char *host;   /* ... within that text */
};

/* NULL and *ret, or what was expected instead (then *ret is untouched). The text has at most CHECK_TARGET_MAX_LEN bytes. */
const char *target_parse(enum check_kind kind, const char *text, struct target *ret);

/* The name of a program in a directory of the node: no path, and nothing that a shell or an `ls` would hide. */
bool target_is_program(const char *text);

/* How often a check can run at most, ms. */
uint32_t target_least_ms(enum check_kind kind);
#define TARGET_EVERY_MAX_MS 3600000u
#define TARGET_TIMEOUT_MIN_MS 10u
#define TARGET_COUNT_MAX 100u /* fall and rise */

/* NULL, or what is wrong with the times and counts of a check. */
const char *target_wrong_numbers(const struct check_spec *spec);

#endif
