/* What a scheme does to the weights of one tensor: values, errors, one group in full.
 * SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_BINS = 8 * PQ_SAMPLE_DECADES };

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for a sample of weights");
}

/* ---- which weights ---- */

/* A matrix from the middle of the network, of a kind that no recipe lifts above its base. */
static const struct pq_tensor *pick(const struct pq_network *net)
{
    const struct pq_tensor *best = &net->tensor[0];
    for (size_t i = 0; i < net->n_tensors; i++) {
        const enum pq_role role = net->tensor[i].role;
        if ((role == PQ_ROLE_FFN_GATE_UP || role == PQ_ROLE_FFN_UP) &&
            net->tensor[i].layer <= (int)net->hp.n_layers / 2)
            best = &net->tensor[i];
    }
    return best;
}

static void read_rows(const struct pq_sample *s, const struct pq_tensor *t, float *x)
{
    for (uint64_t r = 0; r < s->rows; r++)
        pq_tensor_row(t, pq_kern_best(NULL), r * s->stride, x + r * s->tensor->cols);
}

static size_t weights(const struct pq_sample *s)
{
    return (size_t)(s->rows * s->tensor->cols);
}

int pq_sample_open(struct pq_sample *s, const struct pq_network *net, struct pq_err *e)
{
    double squares = 0;
    *s = (struct pq_sample){.tensor = pick(net)};
    const struct pq_tensor *t = s->tensor;
    s->rows = PQ_SAMPLE_WEIGHTS / t->cols + 1;
    s->rows = s->rows < t->rows ? s->rows : t->rows;
    s->stride = t->rows / s->rows;
    s->x = (float *)pq_calloc(weights(s), sizeof *s->x);
    if (!s->x)
        return no_memory(e);
    read_rows(s, t, s->x);
    for (size_t i = 0; i < weights(s); i++)
        squares += (double)s->x[i] * s->x[i];
    s->rms = sqrt(squares / (double)weights(s));
    s->limit = s->rms > 0 && isfinite(s->rms) ? 4 * s->rms : 1;
    return PQ_OK;
}

void pq_sample_close(struct pq_sample *s)
{
    pq_free(s->x);
    s->x = NULL;
}

/* ---- what they look like ---- */

static json_t *counts(const uint64_t *n, size_t bins)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bins; i++)
        json_array_append_new(list, json_integer((json_int_t)n[i]));
    return list;
}

/* Equal steps from -limit to limit; what is outside counts in the outermost. */
static json_t *histogram(const struct pq_sample *s, const float *x)
{
    uint64_t n[PQ_SAMPLE_BINS] = {0};
    for (size_t i = 0; i < weights(s); i++) {
        const double at = (x[i] / s->limit + 1) / 2 * PQ_SAMPLE_BINS;
        n[!(at > 0) ? 0 : at >= PQ_SAMPLE_BINS ? PQ_SAMPLE_BINS - 1 : (int)at]++;
    }
    return counts(n, PQ_SAMPLE_BINS);
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Different values among n; -1 when memory is out. */
static json_int_t distinct(const float *x, size_t n)
{
    json_int_t found = n > 0;
    float *v = (float *)pq_calloc(n, sizeof *v);
    if (!v)
        return -1;
    memcpy(v, x, n * sizeof *v);
    qsort(v, n, sizeof *v, ascending);
    for (size_t i = 1; i < n; i++)
        found += v[i] != v[i - 1];
    pq_free(v);
    return found;
}

/* A run of weights in the middle of the sample. */
static const float *run_of(const struct pq_sample *s, const float *x)
{
    return x + s->rows / 2 * s->tensor->cols;
}

static size_t run_length(const struct pq_sample *s)
{
    return s->tensor->cols < PQ_SAMPLE_GROUP ? (size_t)s->tensor->cols : PQ_SAMPLE_GROUP;
}

static json_t *values(const float *x, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real(isfinite(x[i]) ? (double)x[i] : 0.0));
    return list;
}

json_t *pq_sample_source(const struct pq_sample *s)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:I, s:o, s:o}", "tensor", s->tensor->name,
                     "rows", (json_int_t)s->tensor->rows, "cols", (json_int_t)s->tensor->cols,
                     "weights", (json_int_t)weights(s), "rms", s->rms, "limit", s->limit,
                     "distinct", distinct(s->x, weights(s)), "histogram", histogram(s, s->x),
                     "values", values(run_of(s, s->x), run_length(s)));
}

/* Sizes of errors in units of the weights' RMS, by decades from 10^-8 to 1; exact ones apart. */
static json_t *error_histogram(const struct pq_sample *s, const float *y, uint64_t *exact)
{
    uint64_t n[ERROR_BINS] = {0};
    *exact = 0;
    for (size_t i = 0; i < weights(s); i++) {
        const double err = fabs((double)y[i] - s->x[i]) / (s->rms > 0 ? s->rms : 1);
        if (err > 0) {
            const double at = (log10(err) + PQ_SAMPLE_DECADES) * 8;
            n[at < 0 ? 0 : at >= ERROR_BINS ? ERROR_BINS - 1 : (int)at]++;
        } else {
            *exact += 1;
        }
    }
    return counts(n, ERROR_BINS);
}

static json_t *describe(const struct pq_sample *s, const struct pq_scheme *scheme, const float *y)
{
    uint64_t exact;
    json_t *errors = error_histogram(s, y, &exact);
    return json_pack("{s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:o}", "scheme", scheme->name, "bits",
                     scheme->bits, "group", (json_int_t)scheme->group, "distinct",
                     distinct(y, weights(s)), "exact", (json_int_t)exact, "errors", errors,
                     "histogram", histogram(s, y), "values", values(run_of(s, y), run_length(s)));
}

int pq_sample_of(json_t **out, const struct pq_sample *s, const struct pq_network *net,
                 struct pq_err *e)
{
    const struct pq_tensor *t = pq_network_find(net, s->tensor->name);
    *out = NULL;
    if (!t || t->rows != s->tensor->rows || t->cols != s->tensor->cols)
        return pq_fail(e, PQ_EINVAL, "no tensor %s of [%llu, %llu]", s->tensor->name,
                       (unsigned long long)s->tensor->rows, (unsigned long long)s->tensor->cols);
    float *y = (float *)pq_calloc(weights(s), sizeof *y);
    if (!y)
        return no_memory(e);
    read_rows(s, t, y);
    *out = describe(s, t->slice[0].view.scheme, y);
    pq_free(y);
    return *out ? PQ_OK : no_memory(e);
}
