/*
 * Writing what imatrix.c reads. Names, counts and metadata are those of llama-imatrix: for each
 * weight NAME, in the order of the names, NAME.in_sum2 [columns, 1] and NAME.counts [1, 1].
 * Source: llama.cpp tools/imatrix. phiq's own addition is NAME.in_products [columns (columns + 1) /
 * 2, 1], the lower triangle of X^T X row by row. SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32, ARRAYS = 3 };

/* An array of the file; `at` counts from the beginning of the data. */
struct array {
    const char *name;
    uint64_t ne[2], at;
};

struct entry {
    const char *weight;
    size_t tensor;
    struct array array[ARRAYS]; /* in_sum2, counts, in_products */
    int n_arrays;
};

struct pq_imatrix_plan {
    struct entry *entry;
    size_t n, n_arrays;
    uint64_t bytes; /* of the data */
};

bool pq_imatrix_has(const struct pq_network *net, size_t i)
{
    const enum pq_role role = net->tensor[i].role;
    if (role != PQ_ROLE_EMBED)
        return pq_role_is_matrix(role);
    for (size_t k = 0; k < net->n_tensors; k++)
        if (net->tensor[k].role == PQ_ROLE_HEAD)
            return false;
    return true; /* the head is the embedding */
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->weight, ((const struct entry *)b)->weight);
}

static bool add_array(struct entry *e, struct pq_arena *a, const char *end, uint64_t n)
{
    const char *name = pq_arena_printf(a, "%s.%s", e->weight, end);
    e->array[e->n_arrays++] = (struct array){name, {n, 1}, 0};
    return name != NULL;
}

static bool add_entry(struct pq_imatrix_plan *p, struct pq_arena *a, const struct pq_tensor *t,
                      size_t i)
{
    const char *weight = pq_gguf_tensor_name(a, t->role, t->layer);
    struct entry *e = &p->entry[p->n++];
    if (!weight)
        return false;
    *e = (struct entry){.weight = weight, .tensor = i};
    return add_array(e, a, "in_sum2", t->cols) && add_array(e, a, "counts", 1);
}

static bool add_products(struct entry *e, struct pq_arena *a, const struct pq_network *net)
{
    const struct pq_tensor *t = &net->tensor[e->tensor];
    return pq_network_inputs_of(net, t) != t ||
           add_array(e, a, "in_products", t->cols * (t->cols + 1) / 2);
}

/* Which arrays there are, and where they go. */
static bool lay_out(struct pq_imatrix_plan *p, struct pq_arena *a, const struct pq_network *net,
                    bool products)
{
    bool good = (p->entry = (struct entry *)pq_arena_alloc(a, net->n_tensors, sizeof *p->entry));
    for (size_t i = 0; good && i < net->n_tensors; i++)
        if (pq_imatrix_has(net, i))
            good = add_entry(p, a, &net->tensor[i], i) &&
                   (!products || add_products(&p->entry[p->n - 1], a, net));
    if (!good)
        return false;
    qsort(p->entry, p->n, sizeof *p->entry, by_name);
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; k < p->entry[i].n_arrays; k++, p->n_arrays++) {
            struct array *x = &p->entry[i].array[k];
            x->at = p->bytes;
            p->bytes += pq_round_up(x->ne[0] * x->ne[1] * sizeof(float), ALIGNMENT);
        }
    return true;
}

static void put_document(struct pq_buf *b, const struct pq_imatrix_plan *p,
                         const struct pq_imatrix *about)
{
    const struct pq_scheme *f32 = pq_scheme_of_dtype(PQ_F32);
    pq_gguf_put_header(b, p->n_arrays, 4);
    pq_gguf_put_str(b, "general.type", "imatrix", strlen("imatrix"));
    pq_gguf_put_array(b, "imatrix.datasets", PQ_GGUF_STRING, 1);
    pq_gguf_put_item_str(b, about->dataset, strlen(about->dataset));
    pq_gguf_put_u32(b, "imatrix.chunk_count", about->n_chunks);
    pq_gguf_put_u32(b, "imatrix.chunk_size", about->chunk_size);
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; k < p->entry[i].n_arrays; k++) {
            const struct array *x = &p->entry[i].array[k];
            pq_gguf_put_info(b, x->name, 2, x->ne, f32->ggml_type, x->at);
        }
    pq_gguf_pad(b, ALIGNMENT);
}

int pq_imatrix_create(struct pq_imatrix_out *o, const char *path, const struct pq_network *net,
                      const struct pq_imatrix *about, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_buf doc = {0};
    struct pq_imatrix_plan *p =
        (struct pq_imatrix_plan *)pq_arena_alloc(&o->arena, 1, sizeof *o->plan);
    if (!p || !lay_out(p, &o->arena, net, o->products))
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", path));
    o->plan = p;
    put_document(&doc, p, about);
    PQ_TRY(pq_buf_check(&doc, e));
    o->data_at = doc.len;
    PQ_TRY(pq_whole_create(&o->file, path, doc.len + p->bytes, e));
    PQ_TRY(pq_out_put(&o->file.out, doc.data, doc.len, 0, e));
out:
    pq_buf_free(&doc);
    return rc;
}

static const struct entry *entry_of(const struct pq_imatrix_out *o, size_t tensor)
{
    const struct entry *x = o->plan->entry;
    while (x->tensor != tensor)
        x++;
    return x;
}

static int put_floats(const struct pq_imatrix_out *o, const struct array *a, const double *x,
                      struct pq_err *e)
{
    enum { STEP = 1024 };
    uint8_t b[4 * STEP];
    int rc = PQ_OK;
    const uint64_t n = a->ne[0] * a->ne[1];
    for (uint64_t i = 0; rc >= 0 && i < n; i += STEP) {
        const uint64_t k = n - i < STEP ? n - i : STEP;
        for (uint64_t j = 0; j < k; j++)
            pq_put_le32(b + 4 * j, pq_f32_bits((float)x[i + j]));
        rc = pq_out_put(&o->file.out, b, (size_t)(4 * k), o->data_at + a->at + 4 * i, e);
    }
    return rc;
}

int pq_imatrix_put(const struct pq_imatrix_out *o, size_t tensor, const double *sum2, uint64_t rows,
                   struct pq_err *e)
{
    const struct entry *x = entry_of(o, tensor);
    const double count = (double)rows;
    int rc = put_floats(o, &x->array[0], sum2, e);
    return rc < 0 ? rc : put_floats(o, &x->array[1], &count, e);
}

int pq_imatrix_put_products(const struct pq_imatrix_out *o, size_t tensor, const float *lower,
                            struct pq_err *e)
{
    enum { STEP = 1024 };
    double wide[STEP];
    struct array a = entry_of(o, tensor)->array[2];
    int rc = PQ_OK;
    for (uint64_t i = 0, n = a.ne[0]; rc >= 0 && i < n; i += STEP) {
        a.ne[0] = n - i < STEP ? n - i : STEP;
        for (uint64_t k = 0; k < a.ne[0]; k++)
            wide[k] = (double)lower[i + k];
        rc = put_floats(o, &a, wide, e);
        a.at += 4 * STEP;
    }
    return rc;
}

int pq_imatrix_finish(struct pq_imatrix_out *o, struct pq_err *e)
{
    int rc = pq_whole_finish(&o->file, e);
    pq_imatrix_abandon(o);
    return rc;
}

void pq_imatrix_abandon(struct pq_imatrix_out *o)
{
    pq_whole_abandon(&o->file);
    pq_arena_free(&o->arena);
    *o = (struct pq_imatrix_out){0};
}
