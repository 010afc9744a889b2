/* The public calls that belong to no room. SPDX-License-Identifier: MIT */
#include "phiq.h"

const char *pq_version(void)
{
    return PQ_VERSION_STRING;
}

const char *pq_status_name(int status)
{
    switch ((enum pq_status)status) {
    case PQ_OK:
        return "ok";
    case PQ_ENOMEM:
        return "out of memory";
    case PQ_EIO:
        return "input/output error";
    case PQ_EFORMAT:
        return "malformed input";
    case PQ_EUNSUPPORTED:
        return "not supported";
    case PQ_EINVAL:
        return "invalid request";
    case PQ_ECANCELLED:
        return "cancelled";
    case PQ_EEXIST:
        return "output exists";
    case PQ_EMISMATCH:
        return "verification failed";
    }
    return "unknown status";
}
