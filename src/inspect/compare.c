/* How far the weights of two models of the same network are apart. SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "inspect/inspect.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct diff {
    const struct pq_tensor *a, *b;
    double err, ref, max_abs;
};

struct shared {
    struct diff *diff;
    size_t n;
    const struct pq_kern *kern;
    atomic_size_t next;
    atomic_bool no_memory;
};

static void diff_tensor(struct diff *d, const struct pq_kern *k, float *x, float *y)
{
    for (uint64_t r = 0; r < d->a->rows; r++) {
        pq_tensor_row(d->a, k, r, x);
        pq_tensor_row(d->b, k, r, y);
        for (uint64_t c = 0; c < d->a->cols; c++) {
            double v = fabs((double)y[c] - (double)x[c]);
            d->err += v * v;
            d->ref += (double)x[c] * (double)x[c];
            d->max_abs = v > d->max_abs ? v : d->max_abs;
        }
    }
}

static void worker(void *ctx, int id)
{
    struct shared *s = (struct shared *)ctx;
    (void)id;
    for (;;) {
        size_t i = atomic_fetch_add(&s->next, 1);
        if (i >= s->n)
            return;
        size_t cols = (size_t)s->diff[i].a->cols;
        float *x = (float *)pq_calloc(2 * cols, sizeof *x);
        if (x)
            diff_tensor(&s->diff[i], s->kern, x, x + cols);
        else
            atomic_store(&s->no_memory, true);
        pq_free(x);
    }
}

static int pair_up(struct diff *d, const struct pq_model *a, const struct pq_model *b,
                   struct pq_err *e)
{
    if (a->net.n_tensors != b->net.n_tensors)
        return pq_fail(e, PQ_EINVAL, "%s has %zu tensors, %s has %zu: not the same network",
                       a->path, a->net.n_tensors, b->path, b->net.n_tensors);
    for (size_t i = 0; i < a->net.n_tensors; i++) {
        d[i].a = &a->net.tensor[i];
        d[i].b = pq_network_find(&b->net, d[i].a->name);
        if (!d[i].b)
            return pq_fail(e, PQ_EINVAL, "%s: no tensor %s, which %s has", b->path, d[i].a->name,
                           a->path);
        if (d[i].a->rows != d[i].b->rows || d[i].a->cols != d[i].b->cols)
            return pq_fail(
                e, PQ_EINVAL, "tensor %s: [%llu, %llu] in %s, [%llu, %llu] in %s", d[i].a->name,
                (unsigned long long)d[i].a->rows, (unsigned long long)d[i].a->cols, a->path,
                (unsigned long long)d[i].b->rows, (unsigned long long)d[i].b->cols, b->path);
    }
    return PQ_OK;
}

static double relative(const struct diff *d)
{
    return d->ref > 0 ? sqrt(d->err / d->ref) : d->err > 0 ? INFINITY : 0;
}

static int worst_first(const void *p, const void *q)
{
    const struct diff *a = (const struct diff *)p, *b = (const struct diff *)q;
    double x = relative(a), y = relative(b);
    return x > y ? -1 : x < y ? 1 : strcmp(a->a->name, b->a->name);
}

static json_t *document(const struct pq_model *a, const struct pq_model *b, const struct diff *d,
                        size_t n)
{
    double err = 0, ref = 0;
    json_t *rows = json_array();
    for (size_t i = 0; i < n; i++) {
        err += d[i].err;
        ref += d[i].ref;
        double rel = relative(&d[i]);
        json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:f, s:f}", "name", d[i].a->name,
                                              "a", d[i].a->slice[0].view.scheme->name, "b",
                                              d[i].b->slice[0].view.scheme->name, "rel_rms_error",
                                              isfinite(rel) ? rel : 1e300, "max_abs_error",
                                              d[i].max_abs));
    }
    return json_pack("{s:s, s:s, s:I, s:f, s:b, s:o}", "a", a->path, "b", b->path, "tensor_count",
                     (json_int_t)n, "rel_rms_error", ref > 0 ? sqrt(err / ref) : 0.0, "equal",
                     err == 0, "tensors", rows);
}

int pq_inspect_compare(json_t **out, const char *a, const char *b, int threads, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_model *ma = NULL, *mb = NULL;
    struct diff *d = NULL;
    *out = NULL;
    PQ_TRY(pq_model_load(&ma, a, e));
    PQ_TRY(pq_model_load(&mb, b, e));
    d = (struct diff *)pq_calloc(ma->net.n_tensors, sizeof *d);
    if (!d) {
        rc = pq_fail(e, PQ_ENOMEM, "out of memory for the comparison");
        goto out;
    }
    PQ_TRY(pair_up(d, ma, mb, e));
    struct shared s = {.diff = d, .n = ma->net.n_tensors, .kern = pq_kern_best(NULL)};
    pq_parallel(threads > 0 ? threads : pq_cpu_count(), worker, &s);
    qsort(d, s.n, sizeof *d, worst_first);
    *out = document(ma, mb, d, s.n);
    if (atomic_load(&s.no_memory) || !*out)
        rc = pq_fail(e, PQ_ENOMEM, "out of memory for the comparison");
out:
    pq_free(d);
    pq_model_free(ma);
    pq_model_free(mb);
    return rc;
}
