/*
 * XML through Expat, within bounds: no document type and so no entities but XML's own, elements
 * nested only so deep, memory from base/mem.h, errors with the line. SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_XML_H
#define PQ_WIRE_XML_H

#include "base/mem.h"

#define PQ_XML_MAX_DEPTH 64

/* Set the first five; handlers are not called again after pq_xml_fail. */
struct pq_xml {
    const char *path; /* for messages */
    void *ctx;
    void (*start)(void *ctx, const char *name, const char **atts); /* key, value, ..., NULL */
    void (*end)(void *ctx);
    void (*text)(void *ctx, const char *s, int n); /* in pieces as they come */
    int depth; /* elements that are open, with the one that starts, without the one that ends */
    int rc;
    struct pq_err *e;
    void *expat;
};

int pq_xml_read(struct pq_xml *x, const uint8_t *data, uint64_t size,
                struct pq_err *e) PQ_MUST_CHECK;
/* Ends the reading. For handlers. */
__attribute__((format(printf, 3, 4))) void pq_xml_fail(struct pq_xml *x, int code, const char *fmt,
                                                       ...);
void pq_xml_no_memory(struct pq_xml *x);

const char *pq_xml_attr(const char **atts, const char *key); /* NULL if missing */

#endif
