/*
 * Text to ids: added tokens are cut out, what lies between is normalized, added tokens that want
 * that are cut out of the result, and the rest goes through the model. The order is that of the
 * `tokenizers` library. SPDX-License-Identifier: MIT
 */
#include "tok/alphabet.h"
#include "tok/inside.h"
#include "tok/utf8.h"

struct job {
    const struct pq_tokenizer *t;
    unsigned flags;
    struct pq_ids *out;
    struct pq_bpe_work work;
    struct pq_words words;
    struct pq_buf text; /* normalized */
    struct pq_buf word; /* in GPT-2's alphabet */
    struct pq_err *e;
};

static int check(struct job *j, bool ok)
{
    return ok ? PQ_OK : pq_tok_no_memory(j->e);
}

/* ---- byte-level BPE ---- */

/* The token that is the whole word, with ignore_merges. */
static uint32_t whole_word(struct job *j, const char *word, size_t n)
{
    j->word.len = 0;
    for (size_t i = 0; i < n; i++) {
        char utf8[4];
        pq_buf_put(&j->word, utf8, pq_utf8_put(pq_alphabet_char((uint8_t)word[i]), utf8));
    }
    return pq_strmap_get(&j->t->piece, (const char *)j->word.data, j->word.len);
}

static int bpe_word(struct job *j, const char *word, size_t n)
{
    size_t from = j->out->n;
    if (j->t->v->ignore_merges) {
        uint32_t id = whole_word(j, word, n);
        if (j->word.failed)
            return check(j, false);
        if (id != PQ_STRMAP_NONE)
            return check(j, pq_ids_put(j->out, id));
    }
    if (!pq_ids_room(j->out, n))
        return check(j, false);
    for (size_t i = 0; i < n; i++)
        j->out->id[j->out->n++] = j->t->byte[(uint8_t)word[i]];
    return check(j, pq_bpe_merge(&j->t->bpe, &j->work, j->out, from));
}

static int bpe_text(struct job *j, const char *text, size_t n)
{
    const char *word;
    size_t len;
    int rc;
    pq_words_text(&j->words, text, n);
    while ((rc = pq_words_next(&j->words, &word, &len, j->e)) > 0)
        if ((rc = bpe_word(j, word, len)) < 0)
            break;
    return rc;
}

/* ---- SentencePiece ---- */

/* Appends the symbols of one word: pieces of one character, bytes where there is none. */
static int spm_word(struct job *j, const char *s, size_t n)
{
    size_t from = j->out->n;
    if (!pq_ids_room(j->out, n))
        return check(j, false);
    for (size_t i = 0, k; i < n; i += k) {
        k = pq_utf8_len(s + i, n - i);
        uint32_t id = k ? pq_strmap_get(&j->t->piece, s + i, k) : PQ_STRMAP_NONE;
        k = k ? k : 1;
        if (id != PQ_STRMAP_NONE)
            j->out->id[j->out->n++] = id;
        for (size_t b = 0; id == PQ_STRMAP_NONE && b < k; b++)
            j->out->id[j->out->n++] = j->t->byte[(uint8_t)s[i + b]];
    }
    return check(j, pq_bpe_merge(&j->t->bpe, &j->work, j->out, from));
}

static int spm_text(struct job *j, const char *s, size_t n)
{
    int rc = PQ_OK;
    for (size_t i = 0, end; i < n && rc == PQ_OK; i = end) {
        end = i;
        while (pq_space_at(s + end, n - end))
            end += PQ_SPM_SPACE_LEN;
        while (end < n && !(j->t->breaks && pq_space_at(s + end, n - end)))
            end++;
        rc = spm_word(j, s + i, end - i);
    }
    return rc;
}

/* ---- added tokens and what lies between ---- */

typedef int piece_fn(struct job *j, const char *text, size_t n, bool at_start);

/* Puts the tokens of a text that the matcher finds, and calls fn for what lies between. */
static int each_piece(struct job *j, const struct pq_matcher *m, const char *text, size_t n,
                      bool at_start, piece_fn *fn)
{
    struct pq_match at = {0};
    bool plain = j->flags & PQ_ENCODE_PLAIN_SPECIAL;
    size_t done = 0;
    int rc = PQ_OK;
    while (rc == PQ_OK && pq_match_next(m, text, n, plain, &at)) {
        if (at.begin > done)
            rc = fn(j, text + done, at.begin - done, at_start && !done);
        if (rc == PQ_OK)
            rc = check(j, pq_ids_put(j->out, at.id));
        done = at.done;
    }
    if (rc == PQ_OK && done < n)
        rc = fn(j, text + done, n - done, at_start && !done);
    return rc;
}

static int normalize(struct job *j, const char *text, size_t n, bool at_start)
{
    const struct pq_vocab *v = j->t->v;
    j->text.len = 0;
    pq_spm_normalize(v, text, n, at_start || !v->prefix_first, &j->text);
    return pq_buf_check(&j->text, j->e);
}

static int model(struct job *j, const char *text, size_t n, bool at_start)
{
    if (j->t->v->kind == PQ_VOCAB_BPE)
        return bpe_text(j, text, n);
    if (!j->t->v->prefix_unless_space)
        return spm_text(j, text, n);
    int rc = normalize(j, text, n, at_start); /* Metaspace works on what all tokens leave */
    return rc < 0 ? rc : spm_text(j, (const char *)j->text.data, j->text.len);
}

static int raw_piece(struct job *j, const char *text, size_t n, bool at_start)
{
    const struct pq_tokenizer *t = j->t;
    if (t->v->kind == PQ_VOCAB_SPM && !t->v->prefix_unless_space) {
        int rc = normalize(j, text, n, at_start);
        if (rc < 0)
            return rc;
        text = (const char *)j->text.data;
        n = j->text.len;
    }
    return each_piece(j, &t->normalized, text, n, at_start, model);
}

static int put_end(struct job *j, bool wanted, int64_t id)
{
    bool put = wanted && id >= 0 && (j->flags & PQ_ENCODE_ENDS);
    return check(j, !put || pq_ids_put(j->out, (uint32_t)id));
}

int pq_tokenizer_encode(const struct pq_tokenizer *t, const char *text, size_t n, unsigned flags,
                        struct pq_ids *out, struct pq_err *e)
{
    struct job j = {.t = t, .flags = flags, .out = out, .e = e};
    int rc = PQ_OK;
    if (n > INT32_MAX)
        return pq_fail(e, PQ_EINVAL, "a text of %zu bytes, at most 2 GB can be tokenized", n);
    if (t->words)
        PQ_TRY(pq_words_begin(&j.words, t->words, e));
    PQ_TRY(put_end(&j, t->v->add_bos, t->v->bos));
    PQ_TRY(each_piece(&j, &t->raw, text, n, true, raw_piece));
    PQ_TRY(put_end(&j, t->v->add_eos, t->v->eos));
out:
    pq_words_end(&j.words);
    pq_bpe_work_free(&j.work);
    pq_buf_free(&j.text);
    pq_buf_free(&j.word);
    return rc;
}
