#ifndef VIPD_BASE_LOG_H
#define VIPD_BASE_LOG_H

/* Messages for people: stable ids and advice in one catalogue (log.c); text to a terminal or file, fields to the journal
 * when standard error is connected to it. */

#include "base/err.h"

enum log_level
{
    LOG_ERROR = 3, /* syslog priorities */
    LOG_WARN = 4,
    LOG_NOTE = 5,
    LOG_INFO = 6,
    LOG_TRACE = 7,
};

enum log_id
{
#define X(id, level, text, advice) LOG_##id,
#include "base/log_catalogue.h"
#undef X
    LOG_IDS_N
};

void log_init(const char *node, enum log_level level);

/* One message; `fields` is a printf format of "key=value key=value" (values without blanks, or quoted), or "". */
void log_write(enum log_id id, const char *fields, ...) PRINTF(2, 3);

/* How many messages were suppressed: one id writes at most 20 lines in 10 s, then one line that says how many more. */

#endif
