/*
 * PCRE2 under the `tokenizers` library's patterns, which are Oniguruma's. Where the two differ:
 * \s is Unicode's White_Space there, and one character more here. SPDX-License-Identifier: MIT
 */
#include "tok/split.h"
#include "base/mem.h"
#include "tok/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

struct pq_split {
    pcre2_general_context *memory; /* ours */
    pcre2_compile_context *how;
    pcre2_code *code;
    pcre2_match_context *limits;
};

static void *take(size_t n, void *ctx)
{
    (void)ctx;
    return pq_calloc(n, 1);
}

static void give(void *p, void *ctx)
{
    (void)ctx;
    pq_free(p);
}

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for splitting text");
}

#define WHITE_SPACE "\\x{9}-\\x{d}\\x{85}\\p{Z}"

/* \s and \S spelled out. Other escapes are copied as they are, "\\s" among them. */
static void spell_out(struct pq_buf *b, const char *p)
{
    bool in_class = false;
    for (; *p; p++) {
        if (*p == '\\' && p[1]) {
            p++;
            if (*p == 's')
                pq_buf_puts(b, in_class ? WHITE_SPACE : "[" WHITE_SPACE "]");
            else if (*p == 'S' && !in_class)
                pq_buf_puts(b, "[^" WHITE_SPACE "]");
            else
                pq_buf_put(b, p - 1, 2);
            continue;
        }
        in_class = *p == '[' || (in_class && *p != ']');
        pq_buf_put(b, p, 1);
    }
}

static int compile(struct pq_split *s, const char *pattern, struct pq_err *e)
{
    struct pq_buf b = {0};
    int code, rc;
    PCRE2_SIZE where;
    spell_out(&b, pattern);
    PQ_TRY(pq_buf_check(&b, e));
    s->memory = pcre2_general_context_create(take, give, NULL);
    s->how = s->memory ? pcre2_compile_context_create(s->memory) : NULL;
    s->limits = s->how ? pcre2_match_context_create(s->memory) : NULL;
    if (!s->limits)
        PQ_TRY(no_memory(e));
    pcre2_set_match_limit(s->limits, UINT32_MAX); /* steps: a long run of blanks takes many */
    s->code = pcre2_compile(b.data, b.len, PCRE2_UTF | PCRE2_UCP, &code, &where, s->how);
    if (!s->code && code == PCRE2_ERROR_HEAP_FAILED)
        PQ_TRY(no_memory(e));
    if (!s->code) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(code, why, sizeof why);
        PQ_TRY(pq_fail(e, PQ_EUNSUPPORTED, "the split pattern %.200s: %s", pattern,
                       (const char *)why));
    }
    (void)pcre2_jit_compile(s->code, PCRE2_JIT_COMPLETE); /* without it: slower, the same words */
out:
    pq_buf_free(&b);
    return rc;
}

int pq_split_new(struct pq_split **out, const char *pattern, struct pq_err *e)
{
    *out = (struct pq_split *)pq_calloc(1, sizeof **out);
    int rc = *out ? compile(*out, pattern, e) : no_memory(e);
    if (rc < 0) {
        pq_split_free(*out);
        *out = NULL;
    }
    return rc;
}

void pq_split_free(struct pq_split *s)
{
    if (!s)
        return;
    pcre2_code_free(s->code);
    pcre2_match_context_free(s->limits);
    pcre2_compile_context_free(s->how);
    pcre2_general_context_free(s->memory);
    pq_free(s);
}

bool pq_split_is(const struct pq_split *s, const char *text, size_t n)
{
    pcre2_match_data *m = n ? pcre2_match_data_create(1, s->memory) : NULL;
    bool is = m && pcre2_match(s->code, (PCRE2_SPTR)text, n, 0, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK,
                               m, s->limits) >= 0;
    pcre2_match_data_free(m);
    return is;
}

int pq_words_begin(struct pq_words *w, const struct pq_split *s, struct pq_err *e)
{
    *w = (struct pq_words){.split = s, .match = pcre2_match_data_create(1, s->memory)};
    return w->match ? PQ_OK : no_memory(e);
}

void pq_words_end(struct pq_words *w)
{
    pcre2_match_data_free((pcre2_match_data *)w->match);
}

void pq_words_text(struct pq_words *w, const char *text, size_t n)
{
    w->text = text;
    w->n = n;
    w->at = w->good = w->from = w->to = 0;
}

/* Matches in text[at..good], which has been seen to be UTF-8. Sets from and to. */
static int search(struct pq_words *w, struct pq_err *e)
{
    pcre2_match_data *m = (pcre2_match_data *)w->match;
    PCRE2_SPTR text = (PCRE2_SPTR)w->text;
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    const struct pq_split *s = w->split;
    int rc = pcre2_match(s->code, text, w->good, w->at, options, m, s->limits);
    if (rc < PCRE2_ERROR_NOMATCH) /* the compiled form's stack has an end, the other's has none */
        rc = pcre2_match(s->code, text, w->good, w->at, options | PCRE2_NO_JIT, m, s->limits);
    if (rc == PCRE2_ERROR_NOMEMORY)
        return no_memory(e);
    if (rc < PCRE2_ERROR_NOMATCH)
        return pq_fail(e, PQ_EUNSUPPORTED, "the split pattern cannot be matched (PCRE2 says %d)",
                       rc);
    const PCRE2_SIZE *found = pcre2_get_ovector_pointer(m);
    w->from = rc < 0 ? w->good : found[0];
    w->to = rc < 0 ? w->good : found[1];
    return PQ_OK;
}

/* Extends text[at..good] as far as it is UTF-8. */
static void reach(struct pq_words *w)
{
    size_t k;
    while (w->good < w->n && (k = pq_utf8_len(w->text + w->good, w->n - w->good)) > 0)
        w->good += k;
    w->from = w->to = w->at; /* nothing matched yet */
}

int pq_words_next(struct pq_words *w, const char **word, size_t *n, struct pq_err *e)
{
    size_t end;
    if (w->at == w->n)
        return 0;
    if (w->at == w->good)
        reach(w);
    if (w->at == w->good) { /* a byte that is not text */
        end = w->good = w->at + 1;
    } else {
        int rc = w->at == w->to ? search(w, e) : PQ_OK;
        if (rc < 0)
            return rc;
        end = w->from > w->at ? w->from : w->to;
    }
    *word = w->text + w->at;
    *n = end - w->at;
    w->at = end;
    return 1;
}
