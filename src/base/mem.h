/*
 * The one door for heap memory, an arena, and a growing byte buffer.
 * Tests make the n-th request fail through pq_mem_fail_after. SPDX-License-Identifier: MIT
 */
#ifndef PQ_BASE_MEM_H
#define PQ_BASE_MEM_H

#include "base/err.h"
#include <stdarg.h>
#include <stdbool.h>

/* n * size bytes, zeroed; NULL when the product overflows, is above PTRDIFF_MAX or memory is out.
 * A request of zero bytes yields a pointer that pq_free takes. */
void *pq_calloc(size_t n, size_t size);
void *pq_realloc(void *p, size_t n, size_t size);
void pq_free(void *p);

/* Test hook: the requests number n, n+1, ... from now on fail (one only when `once`). 0 = off. */
void pq_mem_fail_after(unsigned long n, bool once);
unsigned long pq_mem_requests(void);

/* Everything allocated here is freed at once by pq_arena_free. Zero-initialise to start. */
struct pq_arena {
    struct pq_arena_block *head;
};
void *pq_arena_alloc(struct pq_arena *a, size_t n, size_t size); /* zeroed, 16-byte aligned */
char *pq_arena_strdup(struct pq_arena *a, const char *s);
char *pq_arena_strndup(struct pq_arena *a, const char *s, size_t n);
__attribute__((format(printf, 2, 3))) char *pq_arena_printf(struct pq_arena *a, const char *fmt,
                                                            ...);
__attribute__((format(printf, 2, 0))) char *pq_arena_vprintf(struct pq_arena *a, const char *fmt,
                                                             va_list ap);
void pq_arena_free(struct pq_arena *a);

/* A growing buffer. Errors stick: after a failed append `failed` stays set and appends do nothing,
 * so a document writer checks once at the end with pq_buf_check. */
struct pq_buf {
    uint8_t *data;
    size_t len, cap;
    bool failed;
};
void pq_buf_put(struct pq_buf *b, const void *data, size_t n);
void pq_buf_zero(struct pq_buf *b, size_t n); /* n zero bytes */
void pq_buf_puts(struct pq_buf *b, const char *s);
__attribute__((format(printf, 2, 3))) void pq_buf_printf(struct pq_buf *b, const char *fmt, ...);
void pq_buf_u8(struct pq_buf *b, uint8_t v);
void pq_buf_le16(struct pq_buf *b, uint16_t v);
void pq_buf_le32(struct pq_buf *b, uint32_t v);
void pq_buf_le64(struct pq_buf *b, uint64_t v);
int pq_buf_check(const struct pq_buf *b, struct pq_err *e); /* PQ_ENOMEM if an append failed */
void pq_buf_free(struct pq_buf *b);

#endif
