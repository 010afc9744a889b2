/*
 * Plans a GGUF file, or a split set: the whole document and the place of every tensor.
 * Layout: the GGUF specification; split sets as llama.cpp's gguf-split writes them.
 * SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <string.h>

#define ALIGNMENT 32u
#define MAX_NAME 63 /* llama.cpp: GGML_MAX_NAME with its terminator is 64 */
#define SPLIT_PAIRS 3

struct layout {
    struct pq_plan *p;
    const struct pq_model *m;
    const struct pq_request *r;
    struct pq_gguf_meta meta;
    uint64_t *padded; /* [n_items] bytes up to the next tensor */
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while planning a GGUF file");
}

/* Little-endian image of the factors, in the arena. With a context asked for, both tables hold the
 * same factors, so that every context size of the session gives them. */
static int add_factors(struct layout *l, const char *name, const float *factor, struct pq_err *e)
{
    const uint32_t n = l->m->net.hp.rot_dims / 2;
    uint8_t *bytes = (uint8_t *)pq_arena_alloc(&l->p->arena, n, 4);
    if (!bytes)
        return no_memory(e);
    for (uint32_t i = 0; i < n; i++)
        pq_put_le32(bytes + 4 * i, pq_f32_bits(factor[i]));
    l->p->item[l->p->n_items++] = (struct pq_item){
        .scheme = pq_scheme_of_dtype(PQ_F32),
        .name = name,
        .n_parts = 1,
        .bytes = {4 * (uint64_t)n},
        .literal = bytes,
    };
    return PQ_OK;
}

/* llama.cpp takes the factors by the session's context size, not by the prompt. */
static char *rope_note(struct pq_arena *a, int context, uint32_t n)
{
    if (context == PQ_CONTEXT_SHORT)
        return pq_arena_printf(a,
                               "LongRoPE: the short factors at every context size; right for "
                               "prompt and answer of up to %u tokens together",
                               n);
    if (context == PQ_CONTEXT_LONG)
        return pq_arena_printf(a,
                               "LongRoPE: the long factors at every context size; right for "
                               "prompts longer than %u tokens",
                               n);
    return pq_arena_printf(a,
                           "llama.cpp takes LongRoPE factors by its context size: up to %u tokens, "
                           "run it with -c %u or less; a larger -c is right for longer prompts",
                           n, n);
}

static int add_rope(struct layout *l, struct pq_err *e)
{
    const struct pq_hparams *hp = &l->m->net.hp;
    if (hp->rope != PQ_ROPE_LONGROPE)
        return PQ_OK;
    const float *at_long = l->r->context == PQ_CONTEXT_SHORT ? hp->short_factor : hp->long_factor;
    const float *at_short = l->r->context == PQ_CONTEXT_LONG ? hp->long_factor : hp->short_factor;
    int rc = add_factors(l, PQ_GGUF_ROPE_LONG, at_long, e);
    if (rc >= 0)
        rc = add_factors(l, PQ_GGUF_ROPE_SHORT, at_short, e);
    pq_container_note(l->p, rope_note(&l->p->arena, (int)l->r->context, hp->original_max_position));
    return rc;
}

static int add_tensors(struct layout *l, const struct pq_scheme *const *choice, struct pq_err *e)
{
    const struct pq_network *net = &l->m->net;
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct pq_tensor *t = &net->tensor[i];
        struct pq_item *it = &l->p->item[l->p->n_items++];
        pq_container_measure(it, t, i, choice[i]);
        it->name = pq_gguf_tensor_name(&l->p->arena, t->role, t->layer);
        if (!it->name)
            return no_memory(e);
        if (strlen(it->name) > MAX_NAME)
            return pq_fail(e, PQ_EUNSUPPORTED, "%s: longer than the %d bytes of a GGUF name",
                           it->name, MAX_NAME);
    }
    return PQ_OK;
}

/* Bytes that an item takes in the list of tensors: name, dimensions, type, offset. */
static uint64_t info_bytes(const struct pq_item *it)
{
    return 8 + strlen(it->name) + 4 + 2 * 8 + 4 + 8;
}

/* Greedy: a shard takes tensors in order while document and data stay within the limit. Returns
 * the number of shards in *n. */
static int assign_shards(struct layout *l, size_t *n, struct pq_err *e)
{
    const uint64_t limit = l->r->split_max_bytes, slack = 256; /* split.* pairs, header, padding */
    uint64_t used = slack + l->meta.b.len;
    size_t shard = 0, in_shard = 0;
    if (limit && used > limit)
        return pq_fail(e, PQ_EINVAL, "the metadata alone takes %llu bytes, a shard may hold %llu",
                       (unsigned long long)used, (unsigned long long)limit);
    for (size_t i = 0; i < l->p->n_items; i++) {
        struct pq_item *it = &l->p->item[i];
        uint64_t need = l->padded[i] + info_bytes(it);
        if (limit && need > limit - (limit < slack ? limit : slack))
            return pq_fail(e, PQ_EINVAL,
                           "tensor %s takes %llu bytes, more than a shard of %llu may hold",
                           it->name, (unsigned long long)need, (unsigned long long)limit);
        if (limit && used + need > limit && (in_shard || shard == 0)) {
            shard++;
            in_shard = 0;
            used = slack;
        }
        it->file = (uint32_t)shard;
        used += need;
        in_shard++;
    }
    *n = shard + 1;
    return *n <= UINT16_MAX ? PQ_OK
                            : pq_fail(e, PQ_EINVAL, "%zu shards: more than GGUF can count", *n);
}

static void put_split(struct pq_buf *b, size_t no, size_t count, size_t n_tensors)
{
    pq_gguf_put_u16(b, "split.no", (uint16_t)no);
    pq_gguf_put_u16(b, "split.count", (uint16_t)count);
    pq_gguf_put_i32(b, "split.tensors.count", (int32_t)n_tensors);
}

static void put_info(struct pq_buf *b, const struct pq_item *it, uint64_t offset)
{
    uint64_t ne[2] = {it->bytes[0] / 4, 1};
    int n_dims = 1;
    if (it->tensor) {
        ne[0] = it->tensor->cols;
        ne[1] = it->tensor->rows;
        n_dims = it->tensor->n_dims;
    }
    pq_gguf_put_info(b, it->name, n_dims, ne, it->scheme->ggml_type, offset);
}

static uint64_t count_in(const struct pq_plan *p, size_t shard)
{
    uint64_t n = 0;
    for (size_t i = 0; i < p->n_items; i++)
        n += p->item[i].file == shard;
    return n;
}

static int write_shard(struct layout *l, size_t shard, size_t n_shards, struct pq_err *e)
{
    struct pq_plan *p = l->p;
    struct pq_out_file *f = &p->file[shard];
    struct pq_buf *b = &f->doc;
    uint64_t offset = 0, pairs = (shard == 0 ? l->meta.n : 0) + (n_shards > 1 ? SPLIT_PAIRS : 0);
    pq_gguf_put_header(b, count_in(p, shard), pairs);
    if (shard == 0)
        pq_buf_put(b, l->meta.b.data, l->meta.b.len);
    if (n_shards > 1)
        put_split(b, shard, n_shards, p->n_items);
    for (size_t i = 0; i < p->n_items; i++) {
        if (p->item[i].file != shard)
            continue;
        put_info(b, &p->item[i], offset);
        p->item[i].at[0] = offset; /* from the data section; made absolute below */
        offset += l->padded[i];
    }
    pq_gguf_pad(b, ALIGNMENT);
    for (size_t i = 0; i < p->n_items; i++)
        if (p->item[i].file == shard)
            p->item[i].at[0] += b->len;
    f->size = b->len + offset;
    return pq_buf_check(b, e);
}

/* "Phi-3.5-mini-instruct-Q4_K_M": what the community calls such files. */
static char *base_name(struct layout *l)
{
    const char *name = l->r->model_name ? l->r->model_name : l->m->name;
    char *s = pq_arena_printf(&l->p->arena, "%s-%s", name, l->r->recipe->name);
    for (char *c = s; s && *c; c++) {
        bool plain = (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') ||
                     (*c >= 'a' && *c <= 'z') || strchr("._-+", *c);
        if (!plain)
            *c = '-';
        if (c >= s + strlen(name) && *c >= 'a' && *c <= 'z')
            *c = (char)(*c - 'a' + 'A');
    }
    return s && *s == '.' ? s + 1 : s;
}

static int write_shards(struct layout *l, size_t n, struct pq_err *e)
{
    struct pq_plan *p = l->p;
    const char *base = base_name(l);
    p->file = (struct pq_out_file *)pq_arena_alloc(&p->arena, n, sizeof *p->file);
    if (!p->file || !base)
        return no_memory(e);
    p->n_files = n;
    for (size_t i = 0; i < n; i++) {
        p->file[i].name =
            n == 1 ? pq_arena_printf(&p->arena, "%s.gguf", base)
                   : pq_arena_printf(&p->arena, "%s-%05zu-of-%05zu.gguf", base, i + 1, n);
        if (!p->file[i].name)
            return no_memory(e);
        int rc = write_shard(l, i, n, e);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

int pq_gguf_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                 const struct pq_scheme *const *choice, struct pq_err *e)
{
    int rc = PQ_OK;
    size_t n_shards = 1, capacity = m->net.n_tensors + 2;
    struct layout l = {.p = p, .m = m, .r = r};
    p->container = &pq_container_gguf;
    p->dir = "gguf";
    p->item = (struct pq_item *)pq_arena_alloc(&p->arena, capacity, sizeof *p->item);
    l.padded = (uint64_t *)pq_arena_alloc(&p->arena, capacity, sizeof *l.padded);
    if (!p->item || !l.padded)
        return no_memory(e);
    PQ_TRY(pq_container_check_source(p, m, "llama.cpp", e));
    PQ_TRY(add_rope(&l, e));
    PQ_TRY(add_tensors(&l, choice, e));
    for (size_t i = 0; i < p->n_items; i++)
        l.padded[i] = pq_round_up(p->item[i].bytes[0], ALIGNMENT);
    PQ_TRY(pq_gguf_put_meta(&l.meta, &p->arena, m, r, e));
    PQ_TRY(assign_shards(&l, &n_shards, e));
    PQ_TRY(write_shards(&l, n_shards, e));
out:
    pq_buf_free(&l.meta.b);
    return rc;
}
