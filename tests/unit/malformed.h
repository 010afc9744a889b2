/* What every reader of files must survive: cut short anywhere, any byte changed, memory refused at
 * any request. Copies are of the exact size, so that the address sanitizer sees a step outside.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_TEST_MALFORMED_H
#define PQ_TEST_MALFORMED_H

#include "test.h"

#include "base/mem.h"

#include <stdlib.h>

/* Parses n bytes, releases everything, returns the status. */
typedef int parse_fn(const uint8_t *data, size_t n, struct pq_err *e);

static inline int parse_copy(parse_fn *parse, const void *data, size_t n, struct pq_err *e)
{
    *e = (struct pq_err){0};
    uint8_t *copy = (uint8_t *)malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, data, n);
    int rc = parse(copy, n, e);
    free(copy);
    assert_int_equal(rc < 0 ? rc : 0, e->code); /* words exactly when it fails */
    assert_true(rc >= 0 || e->msg[0]);
    return rc;
}

/* Refused, with the words. */
static inline void refused(parse_fn *parse, const struct pq_buf *b, const char *words)
{
    struct pq_err e;
    assert_false(b->failed);
    if (parse_copy(parse, b->data, b->len, &e) >= 0)
        fail_msg("accepted, expected words \"%s\"", words);
    assert_words(e, words);
}

static inline void cut_anywhere_fails(parse_fn *parse, const struct pq_buf *b)
{
    struct pq_err e;
    assert_true(parse_copy(parse, b->data, b->len, &e) >= 0);
    for (size_t n = 0; n < b->len; n++)
        if (parse_copy(parse, b->data, n, &e) >= 0)
            fail_msg("accepted when cut to %zu of %zu bytes", n, b->len);
}

/* Any answer will do, any crash will not. */
static inline void any_byte_may_change(parse_fn *parse, const struct pq_buf *b)
{
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    struct pq_err e;
    for (size_t i = 0; i < b->len; i++)
        for (size_t k = 0; k < sizeof masks; k++) {
            b->data[i] ^= masks[k];
            parse_copy(parse, b->data, b->len, &e);
            b->data[i] ^= masks[k];
        }
}

/* Our own requests only: Jansson 2.14 fails an assertion of its own when memory runs out. */
static inline void memory_may_run_out(parse_fn *parse, const struct pq_buf *b)
{
    struct pq_err e;
    int rc = PQ_ENOMEM;
    for (unsigned long n = 1; rc < 0; n++) {
        pq_mem_fail_after(n, false);
        rc = parse_copy(parse, b->data, b->len, &e);
        if (rc < 0 && rc != PQ_ENOMEM)
            fail_msg("request %lu refused, status %d: %s", n, rc, e.msg);
        assert_true(n < 100000);
    }
    pq_mem_fail_after(0, false);
}

#endif
