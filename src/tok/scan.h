/* JSON read front to back, for lists too long to become a tree of values. Private to the room.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_SCAN_H
#define PQ_TOK_SCAN_H

#include "base/mem.h"

struct pq_scan {
    const char *p, *end;
};

/* What the next value begins with, after blanks; 0 at the end. */
char pq_scan_peek(struct pq_scan *s);
/* Takes this one character, after blanks. */
bool pq_scan_take(struct pq_scan *s, char c);
/* A string: a part of the document, or of `scratch` when it has escapes. Its UTF-8 is the caller's
 * to check; escapes that make no text (a zero byte, half a surrogate pair) are refused. */
bool pq_scan_string(struct pq_scan *s, struct pq_buf *scratch, const char **text, size_t *n);
/* A natural number below 2^32 that a comma, a bracket or a blank follows. */
bool pq_scan_u32(struct pq_scan *s, uint32_t *v);
/* Passes over a value, looking only at strings and brackets. */
bool pq_scan_skip(struct pq_scan *s);

#endif
