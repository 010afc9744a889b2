/* Errors in words. See phiq.h for the status codes. SPDX-License-Identifier: MIT */
#ifndef PQ_BASE_ERR_H
#define PQ_BASE_ERR_H

#include "phiq.h"

/* Writes code and message into e unless e is NULL or already holds a failure. Returns code. */
__attribute__((format(printf, 3, 4))) int pq_fail(struct pq_err *e, int code, const char *fmt, ...);

/* Puts "prefix: " before the message that e already holds; no effect on an empty one. Returns
 * e->code, or `code` when e is NULL. */
__attribute__((format(printf, 3, 4))) int pq_fail_in(struct pq_err *e, int code, const char *fmt,
                                                     ...);

/* For functions with one `out:` label: int rc = PQ_OK; PQ_TRY(step(..., e)); out: ... return rc; */
#define PQ_TRY(x)           \
    do {                    \
        if ((rc = (x)) < 0) \
            goto out;       \
    } while (0)

#endif
