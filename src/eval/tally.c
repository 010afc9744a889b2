/* Statistics over predicted tokens, see eval.h. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "eval/eval.h"

#include <math.h>
#include <stdlib.h>

/* The larger bound of a normal distribution's central 95 %. */
#define Z95 1.959964

/* ---- one position ---- */

struct soft {
    double max, log_sum; /* log p = x - max - log_sum */
    size_t top;          /* the first of the largest */
};

static struct soft soften(const float *x, size_t n)
{
    struct soft s = {.max = x[0]};
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > s.max) {
            s.max = x[i];
            s.top = i;
        }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - s.max);
    s.log_sum = log(sum);
    return s;
}

void pq_log_softmax(const float *x, size_t n, float *out)
{
    const struct soft s = soften(x, n);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(x[i] - s.max - s.log_sum);
}

struct pq_score pq_score_position(const float *logits, const float *reference, size_t n,
                                  uint32_t next)
{
    const struct soft q = soften(logits, n);
    struct pq_score r = {.nll = q.max + q.log_sum - logits[next], .right = q.top == next};
    if (!reference)
        return r;
    const struct soft p = soften(reference, n);
    for (size_t i = 0; i < n; i++) {
        const double lp = reference[i] - p.max - p.log_sum, lq = logits[i] - q.max - q.log_sum;
        r.kld += exp(lp) * (lp - lq);
    }
    r.ref_nll = p.max + p.log_sum - reference[next];
    r.same_top = p.top == q.top;
    r.ref_right = p.top == next;
    return r;
}

/* ---- means with their error ---- */

struct mean {
    double mean, half_width; /* of the 95 % interval; NAN with one window */
};

typedef double pick_fn(const struct pq_score *s);

static double nll_of(const struct pq_score *s)
{
    return s->nll;
}

static double ref_nll_of(const struct pq_score *s)
{
    return s->ref_nll;
}

static double difference_of(const struct pq_score *s)
{
    return s->nll - s->ref_nll;
}

static double kld_of(const struct pq_score *s)
{
    return s->kld;
}

static double same_top_of(const struct pq_score *s)
{
    return s->same_top;
}

static double flip_of(const struct pq_score *s)
{
    return s->right != s->ref_right;
}

/* Tokens of a window depend on each other, windows hardly do: the spread is that of the windows'
 * means. */
static struct mean mean_of(const struct pq_tally *t, pick_fn *pick)
{
    const size_t windows = t->n / t->per_window;
    double sum = 0, squares = 0;
    for (size_t w = 0; w < windows; w++) {
        double m = 0;
        for (size_t i = 0; i < t->per_window; i++)
            m += pick(&t->score[w * t->per_window + i]);
        m /= (double)t->per_window;
        sum += m;
        squares += m * m;
    }
    const double n = (double)windows, mean = sum / n;
    const double variance = (squares / n - mean * mean) * n / (n - 1);
    return (struct mean){mean, windows > 1 ? Z95 * sqrt(fmax(variance, 0) / n) : NAN};
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *mean_words(struct mean m)
{
    return json_pack("{s:o, s:o}", "mean", number(m.mean), "ci95", number(m.half_width));
}

/* llama-perplexity's own error, which treats tokens as independent. */
static double token_error(const struct pq_tally *t)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < t->n; i++) {
        sum += t->score[i].nll;
        squares += t->score[i].nll * t->score[i].nll;
    }
    const double n = (double)t->n, mean = sum / n;
    return exp(mean) * sqrt(fmax(squares / n - mean * mean, 0) / (n - 1));
}

static json_t *perplexity_words(const struct pq_tally *t, pick_fn *pick)
{
    const struct mean m = mean_of(t, pick);
    const double total = m.mean * (double)t->n;
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "token", number(exp(m.mean)), "ci95",
                     number(exp(m.mean) * m.half_width), "word",
                     number(exp(total / (double)t->words)), "byte",
                     number(exp(total / (double)t->bytes)), "bits_per_byte",
                     number(total / log(2) / (double)t->bytes));
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Between the two nearest of the sorted values. */
static double quantile(const double *sorted, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t i = (size_t)at;
    const double next = i + 1 < n ? sorted[i + 1] : sorted[i];
    return sorted[i] + (at - (double)i) * (next - sorted[i]);
}

static json_t *kld_words(const struct pq_tally *t)
{
    json_t *j = mean_words(mean_of(t, kld_of));
    double *v = (double *)pq_calloc(t->n, sizeof *v);
    if (!j || !v) {
        json_decref(j);
        pq_free(v);
        return NULL;
    }
    for (size_t i = 0; i < t->n; i++)
        v[i] = t->score[i].kld;
    qsort(v, t->n, sizeof *v, ascending);
    static const struct {
        const char *name;
        double q;
    } rows[] = {{"median", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        json_object_set_new(j, rows[i].name, number(quantile(v, t->n, rows[i].q)));
    pq_free(v);
    return j;
}

json_t *pq_tally_report(const struct pq_tally *t)
{
    json_t *j =
        json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}", "windows", (json_int_t)(t->n / t->per_window),
                  "scored_tokens", (json_int_t)t->n, "scored_words", (json_int_t)t->words,
                  "scored_bytes", (json_int_t)t->bytes, "perplexity", perplexity_words(t, nll_of),
                  "perplexity_token_error", number(token_error(t)));
    if (!j || !t->with_reference)
        return j;
    json_object_set_new(j, "reference_perplexity", perplexity_words(t, ref_nll_of));
    json_object_set_new(j, "log_perplexity_ratio", mean_words(mean_of(t, difference_of)));
    json_object_set_new(j, "kl_divergence", kld_words(t));
    json_object_set_new(j, "top1_agreement", mean_words(mean_of(t, same_top_of)));
    json_object_set_new(j, "flips", mean_words(mean_of(t, flip_of)));
    return j;
}

double pq_tally_perplexity(const struct pq_tally *t, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += t->score[i].nll;
    return exp(sum / (double)n);
}

double pq_tally_kld(const struct pq_tally *t, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += t->score[i].kld;
    return sum / (double)n;
}
