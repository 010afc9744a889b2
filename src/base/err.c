/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int pq_fail(struct pq_err *e, int code, const char *fmt, ...)
{
    if (e && !e->code) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(e->msg, sizeof e->msg, fmt, ap);
        va_end(ap);
        e->code = code;
    }
    return code;
}

int pq_fail_in(struct pq_err *e, int code, const char *fmt, ...)
{
    if (!e || !e->code)
        return code;
    char prefix[sizeof e->msg], whole[2 * sizeof e->msg + 2];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    snprintf(whole, sizeof whole, "%s: %s", prefix, e->msg);
    memcpy(e->msg, whole, sizeof e->msg - 1);
    e->msg[sizeof e->msg - 1] = '\0';
    return e->code;
}
