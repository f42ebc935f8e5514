#ifndef VIPD_BASE_ERR_H
#define VIPD_BASE_ERR_H

/* Errors: a function returns 0, a negative errno (fatal or foreign, forwarded as it is), or a positive outcome that
 * its own header names and that the caller must handle. */

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
