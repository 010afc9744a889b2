/*
 * llama.cpp's importance matrix in its GGUF form: for each weight NAME the arrays NAME.in_sum2, the
 * sums of the squared inputs of each column, and NAME.counts, over how many rows of input.
 * Source: llama.cpp tools/imatrix. SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <math.h>
#include <string.h>

struct reader {
    struct pq_imatrix *im;
    struct pq_arena *a;
    const struct pq_ckpt *c;
    const char *file;
    struct pq_err *e;
};

static int check_kind(struct reader *r)
{
    struct pq_gguf_str s;
    if (!r->c->gguf || !pq_gguf_get_str(r->c->gguf, "general.type", &s) || s.len != 7 ||
        memcmp(s.s, "imatrix", 7))
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: not an importance matrix in GGUF form (general.type is not 'imatrix'); "
                       "llama-imatrix writes it with --output-format gguf",
                       r->file);
    return PQ_OK;
}

static const struct pq_stored *find_array(struct reader *r, const char *weight, const char *tail)
{
    const char *name = pq_arena_printf(r->a, "%s%s", weight, tail);
    return name ? pq_ckpt_find(r->c, name) : NULL;
}

static bool holds_f32(const struct pq_stored *s, uint64_t n)
{
    return s->scheme && s->scheme->dtype == PQ_F32 && s->bytes == 4 * n;
}

/* Mean squared input of each column; inputs that never came leave the tensor without importance. */
static int read_tensor(struct reader *r, const struct pq_tensor *t, const char *weight,
                       const float **out)
{
    const struct pq_stored *sum = find_array(r, weight, ".in_sum2");
    const struct pq_stored *counts = find_array(r, weight, ".counts");
    if (!sum)
        return PQ_OK;
    if (!counts || !holds_f32(counts, 1))
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s.counts is missing or not one float32", r->file,
                       weight);
    if (!holds_f32(sum, t->cols))
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s has %llu bytes, expected %llu float32", r->file,
                       sum->name, (unsigned long long)sum->bytes, (unsigned long long)t->cols);
    const double n = pq_bits_f32(pq_le32(counts->data));
    if (n == 0)
        return PQ_OK;
    float *mean = (float *)pq_arena_alloc(r->a, (size_t)t->cols, sizeof *mean);
    if (!mean)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->file);
    for (uint64_t i = 0; i < t->cols; i++) {
        mean[i] = (float)(pq_bits_f32(pq_le32(sum->data + 4 * i)) / n);
        if (!(mean[i] >= 0 && mean[i] < INFINITY))
            return pq_fail(r->e, PQ_EFORMAT, "%s: %s: column %llu is not a mean of squares",
                           r->file, sum->name, (unsigned long long)i);
    }
    *out = mean;
    return PQ_OK;
}

/* Products that other matrices with the same inputs may have summed. */
static int read_products(struct reader *r, const struct pq_network *net, const struct pq_tensor *t,
                         struct pq_products *out)
{
    const struct pq_tensor *q = pq_network_inputs_of(net, t);
    const char *weight = pq_gguf_tensor_name(r->a, q->role, q->layer);
    if (!weight)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->file);
    const struct pq_stored *products = find_array(r, weight, ".in_products");
    const struct pq_stored *counts = find_array(r, weight, ".counts");
    uint64_t n;
    if (!products)
        return PQ_OK;
    if (!pq_mul_u64(t->cols, t->cols + 1, &n) || !holds_f32(products, n / 2))
        return pq_fail(r->e, PQ_EFORMAT,
                       "%s: %s has %llu bytes, expected the products of %llu "
                       "columns",
                       r->file, products->name, (unsigned long long)products->bytes,
                       (unsigned long long)t->cols);
    if (!counts || !holds_f32(counts, 1))
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s.counts is missing or not one float32", r->file,
                       weight);
    *out = (struct pq_products){products->data, t->cols, pq_bits_f32(pq_le32(counts->data))};
    return PQ_OK;
}

static void read_provenance(struct reader *r)
{
    static const char tail[] = ".in_sum2";
    uint64_t chunks = 0;
    for (size_t i = 0; i < r->c->n_tensors; i++) {
        size_t n = strlen(r->c->tensor[i].name);
        r->im->n_entries +=
            n >= sizeof tail && !strcmp(r->c->tensor[i].name + n - (sizeof tail - 1), tail);
    }
    if (pq_gguf_get_u64(r->c->gguf, "imatrix.chunk_count", &chunks) && chunks <= UINT32_MAX)
        r->im->n_chunks = (uint32_t)chunks;
    const struct pq_gguf_kv *sets = pq_gguf_find(r->c->gguf, "imatrix.datasets");
    if (sets && sets->type == PQ_GGUF_ARRAY && sets->item == PQ_GGUF_STRING && sets->count)
        r->im->dataset = pq_arena_strndup(r->a, sets->str[0].s, (size_t)sets->str[0].len);
}

int pq_imatrix_load(struct pq_imatrix *im, struct pq_arena *a, const char *path,
                    const struct pq_network *net, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_ckpt *c = NULL;
    size_t used = 0, products = 0;
    *im = (struct pq_imatrix){0};
    PQ_TRY(pq_ckpt_open(&c, path, e));
    struct reader r = {.im = im, .a = a, .c = c, .file = pq_path_base(path), .e = e};
    PQ_TRY(check_kind(&r));
    im->importance = (const float **)pq_arena_alloc(a, net->n_tensors, sizeof *im->importance);
    im->products = (struct pq_products *)pq_arena_alloc(a, net->n_tensors, sizeof *im->products);
    if (!im->importance || !im->products)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", path));
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct pq_tensor *t = &net->tensor[i];
        if (!pq_role_is_matrix(t->role))
            continue;
        const char *weight = pq_gguf_tensor_name(a, t->role, t->layer);
        if (!weight)
            PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", path));
        PQ_TRY(read_tensor(&r, t, weight, &im->importance[i]));
        used += im->importance[i] != NULL;
        PQ_TRY(read_products(&r, net, t, &im->products[i]));
        products += im->products[i].lower != NULL;
    }
    if (!used)
        PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: has no entry for any matrix of this network", path));
    read_provenance(&r);
    if (!products)
        im->products = NULL;
    else {
        im->file = c;
        c = NULL;
    }
out:
    pq_ckpt_close(c);
    return rc;
}

void pq_imatrix_close(struct pq_imatrix *im)
{
    pq_ckpt_close(im->file);
    im->file = NULL;
}
