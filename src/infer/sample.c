/* The vocabulary is never sorted: candidates are a heap, and as many are taken from it as are
 * needed. SPDX-License-Identifier: MIT */
#include "infer/sample.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

struct candidate {
    float logit;
    uint32_t id;
};

struct pq_sampler {
    struct pq_sampling how;
    uint32_t vocab;
    uint64_t state;
    float *logit;          /* [vocab] after the penalty */
    bool *seen;            /* [vocab] */
    struct candidate *top; /* [vocab] */
};

void pq_sampler_free(struct pq_sampler *s)
{
    if (!s)
        return;
    pq_free(s->logit);
    pq_free(s->seen);
    pq_free(s->top);
    pq_free(s);
}

static int check(const struct pq_sampling *how, struct pq_err *e)
{
    if (!(how->temperature >= 0 && how->temperature < 1e3))
        return pq_fail(e, PQ_EINVAL, "a temperature of %g, expected 0 to 1000", how->temperature);
    if (!(how->top_p >= 0 && how->top_p <= 1) || !(how->min_p >= 0 && how->min_p <= 1))
        return pq_fail(e, PQ_EINVAL, "top-p %g and min-p %g, expected 0 to 1", how->top_p,
                       how->min_p);
    if (!(how->repeat_penalty >= 0 && how->repeat_penalty < 1e3))
        return pq_fail(e, PQ_EINVAL, "a repetition penalty of %g, expected 0 to 1000",
                       how->repeat_penalty);
    return PQ_OK;
}

int pq_sampler_new(struct pq_sampler **out, const struct pq_sampling *how, uint32_t vocab,
                   struct pq_err *e)
{
    *out = NULL;
    int rc = check(how, e);
    if (rc < 0)
        return rc;
    struct pq_sampler *s = (struct pq_sampler *)pq_calloc(1, sizeof *s);
    if (s) {
        s->how = *how;
        s->vocab = vocab;
        s->state = how->seed;
        s->logit = (float *)pq_calloc(vocab, sizeof *s->logit);
        s->seen = (bool *)pq_calloc(vocab, sizeof *s->seen);
        s->top = (struct candidate *)pq_calloc(vocab, sizeof *s->top);
    }
    if (!s || !s->logit || !s->seen || !s->top) {
        pq_sampler_free(s);
        return pq_fail(e, PQ_ENOMEM, "out of memory for a vocabulary of %u", vocab);
    }
    *out = s;
    return PQ_OK;
}

/* SplitMix64 (Steele, Lea, Flood 2014): uniform in [0, 1). */
static double uniform(struct pq_sampler *s)
{
    uint64_t z = s->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

static uint32_t most_likely(const float *logit, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (logit[i] > logit[best])
            best = i;
    return best;
}

static double log_probability(const float *logit, uint32_t n, uint32_t id)
{
    double most = (double)logit[most_likely(logit, n)], sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)logit[i] - most);
    return (double)logit[id] - most - log(sum);
}

static void penalize(struct pq_sampler *s, const uint32_t *seen, size_t n)
{
    const float penalty = (float)s->how.repeat_penalty;
    if (!(penalty > 0) || penalty == 1.0f)
        return;
    memset(s->seen, 0, s->vocab * sizeof *s->seen);
    for (size_t i = 0; i < n; i++) {
        if (s->seen[seen[i]])
            continue;
        s->seen[seen[i]] = true;
        float *l = &s->logit[seen[i]];
        *l = *l > 0 ? *l / penalty : *l * penalty;
    }
}

/* ---- a heap, the most likely on top; of equals the one with the smaller id ---- */

static bool before(struct candidate a, struct candidate b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sink(struct candidate *h, size_t n, size_t i)
{
    for (;;) {
        size_t top = i, kid = 2 * i + 1;
        if (kid < n && before(h[kid], h[top]))
            top = kid;
        if (kid + 1 < n && before(h[kid + 1], h[top]))
            top = kid + 1;
        if (top == i)
            return;
        struct candidate c = h[i];
        h[i] = h[top];
        h[top] = c;
        i = top;
    }
}

/* The most likely goes to the end of the array, which is thereby one shorter. */
static struct candidate pop(struct candidate *h, size_t *n)
{
    struct candidate c = h[0];
    h[0] = h[--*n];
    h[*n] = c;
    sink(h, *n, 0);
    return c;
}

/* ---- which take part; the i-th lies at the end of the array, counted backwards ---- */

static struct candidate taken(const struct pq_sampler *s, size_t i)
{
    return s->top[s->vocab - 1 - i];
}

/* Probability relative to the most likely one's. */
static double weight(const struct pq_sampler *s, float logit, float most)
{
    return exp(((double)logit - (double)most) / s->how.temperature);
}

/* Without top_k and top_p their order does not matter. */
static size_t take_all(struct pq_sampler *s, float most)
{
    size_t n = 0;
    for (uint32_t i = 0; i < s->vocab; i++)
        if (weight(s, s->logit[i], most) >= s->how.min_p)
            s->top[s->vocab - 1 - n++] = (struct candidate){s->logit[i], i};
    return n;
}

/* The top_k, and of them those before which less than top_p of their probability lies. */
static size_t take_top(struct pq_sampler *s, float most, bool by_count, bool by_share)
{
    const size_t limit = by_count ? s->how.top_k : s->vocab;
    size_t left = s->vocab, n = 0, kept = 0;
    double total = 0, sum = 0;
    for (uint32_t i = 0; i < s->vocab; i++)
        s->top[i] = (struct candidate){s->logit[i], i};
    for (size_t i = left / 2; i-- > 0;)
        sink(s->top, left, i);
    for (; by_count && n < limit; n++)
        total += weight(s, pop(s->top, &left).logit, most);
    for (uint32_t i = 0; !by_count && i < s->vocab; i++)
        total += weight(s, s->logit[i], most);
    const double share = by_share ? s->how.top_p * total : INFINITY;
    for (; kept < limit; kept++) {
        if (kept == n) {
            pop(s->top, &left);
            n++;
        }
        double w = weight(s, taken(s, kept).logit, most);
        if (kept && (sum >= share || w < s->how.min_p))
            break;
        sum += w;
    }
    return kept;
}

static uint32_t draw(struct pq_sampler *s)
{
    const float most = s->logit[most_likely(s->logit, s->vocab)];
    const bool by_count = s->how.top_k && s->how.top_k < s->vocab;
    const bool by_share = s->how.top_p > 0 && s->how.top_p < 1;
    size_t n = by_count || by_share ? take_top(s, most, by_count, by_share) : take_all(s, most);
    double sum = 0, at = 0;
    for (size_t i = 0; i < n; i++)
        sum += weight(s, taken(s, i).logit, most);
    const double goal = uniform(s) * sum;
    for (size_t i = 0; i < n; i++) {
        at += weight(s, taken(s, i).logit, most);
        if (at > goal)
            return taken(s, i).id;
    }
    return most_likely(s->logit, s->vocab); /* logits that are no numbers */
}

struct pq_choice pq_sampler_pick(struct pq_sampler *s, const float *logits, const uint32_t *seen,
                                 size_t n)
{
    struct pq_choice c;
    memcpy(s->logit, logits, s->vocab * sizeof *logits);
    penalize(s, seen, n);
    c.id = s->how.temperature > 0 ? draw(s) : most_likely(s->logit, s->vocab);
    c.logprob = log_probability(logits, s->vocab, c.id);
    return c;
}
