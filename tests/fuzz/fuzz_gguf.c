/* GGUF: every value and offset that is handed out lies in the file. SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "wire/gguf_wire.h"

struct range {
    const uint8_t *start, *end;
};

static void inside(const struct range *r, const void *p, uint64_t n)
{
    const uint8_t *q = (const uint8_t *)p;
    REQUIRE(q >= r->start && q <= r->end && n <= (uint64_t)(r->end - q));
}

static void check(const struct pq_gguf *g, const struct range *r)
{
    uint64_t u;
    double d;
    bool b;
    struct pq_gguf_str s;
    for (size_t i = 0; i < g->n_kv; i++) {
        const struct pq_gguf_kv *kv = &g->kv[i];
        for (uint64_t k = 0; kv->str && k < kv->count; k++)
            inside(r, kv->str[k].s, kv->str[k].len);
        inside(r, kv->data, 0);
        if (i > 100)
            continue;
        REQUIRE(pq_gguf_find(g, kv->key) == kv);
        (void)(pq_gguf_get_u64(g, kv->key, &u) || pq_gguf_get_f64(g, kv->key, &d) ||
               pq_gguf_get_bool(g, kv->key, &b) || pq_gguf_get_str(g, kv->key, &s));
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        REQUIRE(g->tensor[i].at % g->alignment == 0 &&
                g->tensor[i].at <= (uint64_t)(r->end - r->start));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_gguf *g;
    const struct range r = {data, data + size};
    if (pq_gguf_parse(&g, &a, data, size, "x", &e) >= 0)
        check(g, &r);
    else
        REQUIRE(e.code && e.msg[0]);
    pq_arena_free(&a);
    return 0;
}
