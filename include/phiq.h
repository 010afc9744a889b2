/*
 * phiq.h - the public face of libphiq.
 *
 * Every call that can fail returns PQ_OK or a negative enum pq_status and, where it takes a
 * struct pq_err, leaves the reason there in words. Handles are opaque; what a call hands out is
 * borrowed from the handle unless its comment says that the caller frees it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PHIQ_H
#define PHIQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PQ_API __attribute__((visibility("default")))
#define PQ_MUST_CHECK __attribute__((warn_unused_result))
#else
#define PQ_API
#define PQ_MUST_CHECK
#endif

/* The process exit code of the command line is the positive value (see `phiq help exit-codes`). */
enum pq_status {
    PQ_OK = 0,
    PQ_ENOMEM = -1,       /* memory could not be had */
    PQ_EIO = -2,          /* reading or writing failed: missing file, full disk, permission */
    PQ_EFORMAT = -3,      /* a file is not what it says it is */
    PQ_EUNSUPPORTED = -4, /* understood, and not done by this version */
    PQ_EINVAL = -5,       /* the request itself makes no sense */
    PQ_ECANCELLED = -6,   /* the progress callback asked to stop */
    PQ_EEXIST = -7,       /* the output exists and `force` is off */
    PQ_EMISMATCH = -8     /* what was written does not read back as planned */
};

/* Filled by the deepest call that failed: which file, which tensor, what was found, what was
 * expected. Zero it before use; the first message is kept. */
struct pq_err {
    int code;
    char msg[508];
};

PQ_API const char *pq_version(void);
PQ_API const char *pq_status_name(int status);

#ifdef __cplusplus
}
#endif
#endif
