/* Where in a text predictions differ: five likeliest tokens of both models at the first scored
 * positions. SPDX-License-Identifier: MIT */
#include "report/report.h"
#include "tok/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The likeliest first; equal ones in the order of their ids. */
static struct pq_top top_of(const float *x, size_t n)
{
    struct pq_top t = {0};
    double sum = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = kept < PQ_TOKENS_TOP ? kept++ : PQ_TOKENS_TOP;
        while (at > 0 && x[i] > x[t.id[at - 1]])
            at--;
        if (at == PQ_TOKENS_TOP)
            continue;
        memmove(t.id + at + 1, t.id + at, (kept - 1 - at) * sizeof *t.id);
        t.id[at] = (uint32_t)i;
    }
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - x[t.id[0]]);
    for (size_t k = 0; k < PQ_TOKENS_TOP; k++) {
        t.id[k] = k < kept ? t.id[k] : t.id[0];
        t.p[k] = k < kept ? (float)(exp((double)x[t.id[k]] - x[t.id[0]]) / sum) : 0;
    }
    return t;
}

void pq_tokens_watch(void *ctx, const struct pq_scored *s)
{
    struct pq_token_log *log = (struct pq_token_log *)ctx;
    if (s->position >= log->n)
        return;
    log->model[s->position] = top_of(s->logits, s->vocab);
    log->reference[s->position] = top_of(s->reference, s->vocab);
    log->kld[s->position] = s->kld;
}

/* [id, p, id, p, ...] */
static json_t *top_list(const struct pq_top *t)
{
    json_t *list = json_array();
    for (size_t k = 0; k < PQ_TOKENS_TOP; k++) {
        json_array_append_new(list, json_integer(t->id[k]));
        const double p = isfinite(t->p[k]) ? (double)t->p[k] : 0;
        json_array_append_new(list, json_real(round(p * 1e5) / 1e5));
    }
    return list;
}

json_t *pq_tokens_of(const struct pq_token_log *log)
{
    json_t *kld = json_array(), *top = json_array();
    for (size_t i = 0; i < log->n; i++) {
        json_array_append_new(kld, json_real(isfinite(log->kld[i]) ? log->kld[i] : 1e9));
        json_array_append_new(top, top_list(&log->model[i]));
    }
    return json_pack("{s:o, s:o}", "kld", kld, "top", top);
}

/* ---- spelling ---- */

/* Bytes that are no UTF-8 become U+FFFD, as JSON is text. */
static json_t *as_text(const char *s, size_t n)
{
    struct pq_buf b = {0};
    for (size_t i = 0; i < n;) {
        const size_t k = pq_utf8_len(s + i, n - i);
        pq_buf_put(&b, k ? s + i : "\xef\xbf\xbd", k ? k : 3);
        i += k ? k : 1;
    }
    json_t *j = b.failed ? NULL : json_stringn(b.len ? (const char *)b.data : "", b.len);
    pq_buf_free(&b);
    return j;
}

/* A token's text inside a text: that of two of them less that of one, because the first one of a
 * text may lose a space. */
static int spell(json_t **out, uint32_t id, const struct pq_tokenizer *t, struct pq_err *e)
{
    const uint32_t twice[2] = {id, id};
    struct pq_buf one = {0}, two = {0};
    int rc = pq_tokenizer_decode(t, twice, 1, 0, &one, e);
    if (rc >= 0)
        rc = pq_tokenizer_decode(t, twice, 2, 0, &two, e);
    const size_t skip = one.len < two.len ? one.len : two.len;
    *out = rc < 0 ? NULL : as_text((const char *)two.data + skip, two.len - skip);
    pq_buf_free(&one);
    pq_buf_free(&two);
    return rc < 0 || *out ? rc : pq_fail(e, PQ_ENOMEM, "out of memory for the text's tokens");
}

int pq_tokens_spelled(json_t **out, const bool *seen, size_t vocab, const struct pq_tokenizer *t,
                      struct pq_err *e)
{
    int rc = PQ_OK;
    *out = json_object();
    for (size_t id = 0; rc >= 0 && id < vocab; id++) {
        char key[24];
        json_t *text;
        if (!seen[id])
            continue;
        snprintf(key, sizeof key, "%zu", id);
        rc = spell(&text, (uint32_t)id, t, e);
        if (rc >= 0)
            json_object_set_new(*out, key, text);
    }
    if (rc >= 0 && !*out)
        rc = pq_fail(e, PQ_ENOMEM, "out of memory for the text's tokens");
    if (rc < 0) {
        json_decref(*out);
        *out = NULL;
    }
    return rc;
}

/* ---- the text ---- */

static json_t *context_text(const struct pq_windows *w, uint64_t window, uint32_t n,
                            const struct pq_tokenizer *t, struct pq_err *e)
{
    struct pq_buf b = {0};
    json_t *j = NULL;
    if (pq_tokenizer_decode(t, w->ids.id + window * w->size, n, PQ_DECODE_SKIP_SPECIAL, &b, e) >= 0)
        j = as_text((const char *)b.data, b.len);
    pq_buf_free(&b);
    return j;
}

/* A run of scored positions: what the models had read before, and the tokens that came. */
static json_t *passage(const struct pq_windows *w, uint64_t window, uint32_t first, size_t n,
                       const struct pq_tokenizer *t, struct pq_err *e)
{
    json_t *ids = json_array(), *before = context_text(w, window, first + 1, t, e);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(ids, json_integer(w->ids.id[window * w->size + first + 1 + i]));
    return json_pack("{s:o, s:o}", "before", before, "ids", ids);
}

int pq_tokens_text(json_t **out, const struct pq_windows *w, uint32_t first,
                   const struct pq_token_log *log, const struct pq_tokenizer *t, struct pq_err *e)
{
    const size_t per_window = w->size - 1 - first;
    json_t *passages = json_array(), *top = json_array();
    for (size_t i = 0; i < log->n; i += per_window) {
        const size_t n = log->n - i < per_window ? log->n - i : per_window;
        json_array_append_new(passages, passage(w, i / per_window, first, n, t, e));
    }
    for (size_t i = 0; i < log->n; i++)
        json_array_append_new(top, top_list(&log->reference[i]));
    const size_t wanted = (log->n + per_window - 1) / per_window;
    const bool whole = json_array_size(passages) == wanted;
    *out = json_pack("{s:o, s:o}", "passages", passages, "top", top);
    if (whole && *out)
        return PQ_OK;
    json_decref(*out);
    *out = NULL;
    return pq_fail(e, PQ_ENOMEM, "out of memory for the text's tokens");
}
