/* SPDX-License-Identifier: MIT */
#include "base/mem.h"
#include "base/num.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ulong requests;
static unsigned long fail_from; /* set by single-threaded tests only */
static bool fail_once;

void pq_mem_fail_after(unsigned long n, bool once)
{
    atomic_store(&requests, 0);
    fail_from = n;
    fail_once = once;
}

unsigned long pq_mem_requests(void)
{
    return atomic_load(&requests);
}

static bool refused(size_t n, size_t size, size_t *bytes)
{
    unsigned long k = atomic_fetch_add(&requests, 1) + 1;
    if (fail_from && (fail_once ? k == fail_from : k >= fail_from))
        return true;
    return __builtin_mul_overflow(n, size, bytes) || *bytes > PTRDIFF_MAX;
}

void *pq_calloc(size_t n, size_t size)
{
    size_t bytes;
    return refused(n, size, &bytes) ? NULL : calloc(bytes ? bytes : 1, 1);
}

void *pq_realloc(void *p, size_t n, size_t size)
{
    size_t bytes;
    return refused(n, size, &bytes) ? NULL : realloc(p, bytes ? bytes : 1);
}

void pq_free(void *p)
{
    free(p);
}

enum { BLOCK = 64 * 1024, ALIGN = 16 };

struct pq_arena_block {
    struct pq_arena_block *next;
    size_t used, cap;
    _Alignas(ALIGN) unsigned char data[];
};

void *pq_arena_alloc(struct pq_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > PTRDIFF_MAX - 2 * BLOCK)
        return NULL;
    bytes = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    struct pq_arena_block *b = a->head;
    if (!b || b->cap - b->used < bytes) {
        size_t cap = bytes > BLOCK ? bytes : BLOCK;
        struct pq_arena_block *fresh = (struct pq_arena_block *)pq_calloc(1, sizeof *b + cap);
        if (!fresh)
            return NULL;
        fresh->cap = cap;
        if (b && bytes > BLOCK) { /* keep filling the open block */
            fresh->next = b->next;
            b->next = fresh;
        } else {
            fresh->next = b;
            a->head = fresh;
        }
        b = fresh;
    }
    void *p = b->data + b->used;
    b->used += bytes;
    return p;
}

char *pq_arena_strndup(struct pq_arena *a, const char *s, size_t n)
{
    char *p = (char *)pq_arena_alloc(a, n + 1, 1);
    if (p && n)
        memcpy(p, s, n);
    return p;
}

char *pq_arena_strdup(struct pq_arena *a, const char *s)
{
    return pq_arena_strndup(a, s, strlen(s));
}

char *pq_arena_vprintf(struct pq_arena *a, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : (char *)pq_arena_alloc(a, (size_t)n + 1, 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

char *pq_arena_printf(struct pq_arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *p = pq_arena_vprintf(a, fmt, ap);
    va_end(ap);
    return p;
}

void pq_arena_free(struct pq_arena *a)
{
    for (struct pq_arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        pq_free(b);
    }
    a->head = NULL;
}

static uint8_t *grow(struct pq_buf *b, size_t n)
{
    size_t need;
    if (b->failed || __builtin_add_overflow(b->len, n, &need)) {
        b->failed = true;
        return NULL;
    }
    if (need > b->cap || !b->data) {
        size_t cap = b->cap ? b->cap : 256;
        while (cap < need)
            cap = cap > SIZE_MAX / 2 ? need : 2 * cap;
        uint8_t *p = (uint8_t *)pq_realloc(b->data, cap, 1);
        if (!p) {
            b->failed = true;
            return NULL;
        }
        b->data = p;
        b->cap = cap;
    }
    uint8_t *at = b->data + b->len;
    b->len = need;
    return at;
}

void pq_buf_put(struct pq_buf *b, const void *data, size_t n)
{
    uint8_t *p = grow(b, n);
    if (p && n)
        memcpy(p, data, n);
}

void pq_buf_zero(struct pq_buf *b, size_t n)
{
    uint8_t *p = grow(b, n);
    if (p && n)
        memset(p, 0, n);
}

void pq_buf_puts(struct pq_buf *b, const char *s)
{
    pq_buf_put(b, s, strlen(s));
}

void pq_buf_printf(struct pq_buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    uint8_t *p = n < 0 ? NULL : grow(b, (size_t)n + 1);
    if (p) {
        vsnprintf((char *)p, (size_t)n + 1, fmt, again);
        b->len--;
    }
    va_end(again);
}

void pq_buf_u8(struct pq_buf *b, uint8_t v)
{
    pq_buf_put(b, &v, 1);
}

void pq_buf_le16(struct pq_buf *b, uint16_t v)
{
    uint8_t x[2];
    pq_put_le16(x, v);
    pq_buf_put(b, x, sizeof x);
}

void pq_buf_le32(struct pq_buf *b, uint32_t v)
{
    uint8_t x[4];
    pq_put_le32(x, v);
    pq_buf_put(b, x, sizeof x);
}

void pq_buf_le64(struct pq_buf *b, uint64_t v)
{
    pq_buf_le32(b, (uint32_t)v);
    pq_buf_le32(b, (uint32_t)(v >> 32));
}

int pq_buf_check(const struct pq_buf *b, struct pq_err *e)
{
    return b->failed ? pq_fail(e, PQ_ENOMEM, "out of memory for a document of %zu bytes", b->len)
                     : PQ_OK;
}

void pq_buf_free(struct pq_buf *b)
{
    pq_free(b->data);
    *b = (struct pq_buf){0};
}
