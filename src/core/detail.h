#ifndef VIPD_CORE_DETAIL_H
#define VIPD_CORE_DETAIL_H

/* The sentence in an outcome, put together without libc: each part is appended, what does not fit is cut. */

#include "core/table.h"

/* Sets the code and empties the sentence. */
void detail_begin(struct outcome *outcome, enum outcome_code code);
void detail_text(struct outcome *outcome, const char *text);
void detail_number(struct outcome *outcome, uint64_t number);
void detail_addr(struct outcome *outcome, const struct addr *addr);

/* The usual shape in one call: before, name, after. */
void detail_say(struct outcome *outcome, enum outcome_code code, const char *before, const char *name,
                const char *after);

#endif
