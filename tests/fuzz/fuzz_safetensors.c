/* safetensors: what was read lies in the file, and is written and read back as the same table.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "wire/safetensors.h"

#include <string.h>

static void write_again(struct pq_buf *b, const struct pq_st *st)
{
    struct pq_st_writer w;
    uint64_t at = 0;
    pq_st_begin(&w, b, st->format);
    for (size_t i = 0; i < st->n_tensors; i++) {
        const struct pq_st_tensor *t = &st->tensor[i];
        uint64_t end = at + (t->end - t->begin);
        pq_st_put(&w, t->name, t->dtype, t->n_dims, t->dim, at, end);
        at = end;
    }
    pq_st_end(&w, 64);
    pq_buf_zero(b, at);
}

static void same(const struct pq_st *a, const struct pq_st *b)
{
    REQUIRE(a->n_tensors == b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct pq_st_tensor *s = &a->tensor[i], *t = &b->tensor[i];
        REQUIRE(!strcmp(s->name, t->name) && s->dtype == t->dtype && s->n_dims == t->n_dims);
        REQUIRE(!memcmp(s->dim, t->dim, sizeof s->dim) && s->end - s->begin == t->end - t->begin);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_buf b = {0};
    struct pq_st st, again;
    if (pq_st_parse(&st, &a, data, size, "x", &e) >= 0) {
        for (size_t i = 0; i < st.n_tensors; i++)
            REQUIRE(st.tensor[i].begin <= st.tensor[i].end && st.tensor[i].end <= size);
        write_again(&b, &st);
        REQUIRE(pq_st_parse(&again, &a, b.data, b.len, "y", &e) == PQ_OK);
        same(&st, &again);
    } else {
        REQUIRE(e.code && e.msg[0]);
    }
    pq_buf_free(&b);
    pq_arena_free(&a);
    return 0;
}
