/* Making a tokenizer from a vocabulary: tables for merges, bytes and added tokens.
 * SPDX-License-Identifier: MIT */
#include "tok/tokenizer.h"
#include "tok/alphabet.h"
#include "tok/inside.h"
#include "tok/utf8.h"

static int no_memory(struct pq_err *e)
{
    return pq_tok_no_memory(e);
}

void pq_spm_normalize(const struct pq_vocab *v, const char *text, size_t n, bool prefix,
                      struct pq_buf *out)
{
    bool spaced = n && (*text == ' ' || pq_space_at(text, n));
    if (n && prefix && v->add_space_prefix && !(v->prefix_unless_space && spaced))
        pq_buf_puts(out, PQ_SPM_SPACE);
    for (size_t i = 0, k; i < n; i += k) {
        const char *space = (const char *)memchr(text + i, ' ', n - i);
        k = space ? (size_t)(space - (text + i)) : n - i;
        pq_buf_put(out, text + i, k);
        if (space) {
            pq_buf_puts(out, PQ_SPM_SPACE);
            k++;
        }
    }
}

/* ---- added tokens ---- */

/* The text under which an added token is looked for. */
static const char *looked_for(struct pq_tokenizer *t, const struct pq_token *tok, uint32_t *len)
{
    struct pq_buf b = {0};
    *len = tok->len;
    if (!tok->normalized || t->v->kind == PQ_VOCAB_BPE || t->v->prefix_unless_space)
        return tok->text; /* Metaspace is no normalizer */
    pq_spm_normalize(t->v, tok->text, tok->len, true, &b);
    char *s = b.failed ? NULL : pq_arena_strndup(&t->arena, (const char *)b.data, b.len);
    *len = (uint32_t)b.len;
    pq_buf_free(&b);
    return s;
}

static size_t count_added(const struct pq_vocab *v, bool normalized)
{
    size_t n = 0;
    for (size_t i = 0; i < v->n_tokens; i++)
        n += v->token[i].added && v->token[i].normalized == normalized;
    return n;
}

static int make_matcher(struct pq_tokenizer *t, struct pq_matcher *m, bool normalized,
                        struct pq_err *e)
{
    const struct pq_vocab *v = t->v;
    size_t n = count_added(v, normalized), k = 0;
    struct pq_match_row *row = (struct pq_match_row *)pq_arena_alloc(&t->arena, n, sizeof *row);
    if (!row)
        return no_memory(e);
    for (size_t i = 0; i < v->n_tokens && k < n; i++) {
        const struct pq_token *tok = &v->token[i];
        if (!tok->added || tok->normalized != normalized)
            continue;
        row[k].id = (uint32_t)i;
        row[k].text = looked_for(t, tok, &row[k].len);
        if (!row[k++].text)
            return no_memory(e);
    }
    *m = (struct pq_matcher){.token = v->token, .word_char = t->word_char};
    pq_matcher_init(m, row, n);
    return PQ_OK;
}

static int make_matchers(struct pq_tokenizer *t, struct pq_err *e)
{
    bool single = false;
    int rc = PQ_OK;
    for (size_t i = 0; i < t->v->n_tokens; i++)
        single |= t->v->token[i].added && t->v->token[i].single_word;
    if (single)
        PQ_TRY(pq_split_new(&t->word_char, PQ_WORD_CHAR, e));
    PQ_TRY(make_matcher(t, &t->raw, false, e));
    PQ_TRY(make_matcher(t, &t->normalized, true, e));
out:
    return rc;
}

/* ---- bytes ---- */

/* The byte that a base token stands for, or -1. */
static int byte_of(const struct pq_vocab *v, const struct pq_token *tok)
{
    uint8_t byte[8];
    size_t n;
    if (v->kind == PQ_VOCAB_SPM)
        return pq_tok_byte_piece(tok->text, tok->len);
    if (tok->len > 2 || !pq_alphabet_bytes(tok->text, tok->len, byte, &n) || n != 1)
        return -1;
    return byte[0];
}

static int find_bytes(struct pq_tokenizer *t, struct pq_err *e)
{
    const struct pq_vocab *v = t->v;
    for (size_t c = 0; c < 256; c++)
        t->byte[c] = UINT32_MAX;
    for (size_t i = v->n_tokens; i-- > 0;) { /* of equal ones the first counts */
        int byte = v->token[i].type == PQ_TOKEN_UNUSED ? -1 : byte_of(v, &v->token[i]);
        if (byte >= 0)
            t->byte[byte] = (uint32_t)i;
    }
    for (size_t c = 0; c < 256; c++)
        if (t->byte[c] == UINT32_MAX)
            return pq_fail(e, PQ_EUNSUPPORTED, "the tokenizer has no token for the byte 0x%02zX",
                           c);
    return PQ_OK;
}

/* ---- pieces ---- */

static bool is_wanted(const struct pq_vocab *v, const struct pq_token *tok)
{
    if (tok->type == PQ_TOKEN_UNUSED || tok->type == PQ_TOKEN_BYTE)
        return false;
    return v->kind == PQ_VOCAB_BPE || pq_utf8_len(tok->text, tok->len) == tok->len;
}

static int make_pieces(struct pq_tokenizer *t, struct pq_err *e)
{
    const struct pq_vocab *v = t->v;
    size_t n = 0;
    if (v->kind == PQ_VOCAB_BPE && !v->ignore_merges)
        return PQ_OK;
    for (size_t i = 0; i < v->n_tokens; i++)
        n += is_wanted(v, &v->token[i]);
    if (pq_strmap_init(&t->piece, &t->arena, n) < 0)
        return no_memory(e);
    for (size_t i = 0; i < v->n_tokens; i++)
        if (is_wanted(v, &v->token[i]))
            pq_strmap_add(&t->piece, v->token[i].text, v->token[i].len, (uint32_t)i);
    return PQ_OK;
}

static bool ends_with_space(const struct pq_token *tok)
{
    return tok->len >= PQ_SPM_SPACE_LEN &&
           pq_space_at(tok->text + tok->len - PQ_SPM_SPACE_LEN, PQ_SPM_SPACE_LEN);
}

/* Where no merge joins a word to the U+2581 after it, words can be merged one by one. */
static bool no_merge_crosses(const struct pq_tokenizer *t)
{
    for (size_t i = 0; i <= t->bpe.mask; i++) {
        const struct pq_bpe_slot *s = &t->bpe.slot[i];
        if (s->whole == PQ_BPE_FREE)
            continue;
        const struct pq_token *left = &t->v->token[s->left], *right = &t->v->token[s->right];
        if (pq_space_at(right->text, right->len) && !ends_with_space(left))
            return false;
    }
    return true;
}

static int make(struct pq_tokenizer *t, struct pq_err *e)
{
    int rc;
    if (t->v->kind == PQ_VOCAB_BPE && !t->v->split)
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "how tokenizer.ggml.pre \"%s\" splits text into words is not known",
                       t->v->pre);
    if (t->v->split)
        PQ_TRY(pq_split_new(&t->words, t->v->split, e));
    PQ_TRY(pq_bpe_init(&t->bpe, &t->arena, t->v, e));
    PQ_TRY(find_bytes(t, e));
    PQ_TRY(make_pieces(t, e));
    PQ_TRY(make_matchers(t, e));
    t->breaks = t->v->kind == PQ_VOCAB_SPM && no_merge_crosses(t);
out:
    return rc;
}

int pq_tokenizer_new(struct pq_tokenizer **out, const struct pq_vocab *v, struct pq_err *e)
{
    struct pq_tokenizer *t = (struct pq_tokenizer *)pq_calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return no_memory(e);
    t->v = v;
    int rc = make(t, e);
    if (rc < 0)
        pq_tokenizer_free(t);
    else
        *out = t;
    return rc;
}

void pq_tokenizer_free(struct pq_tokenizer *t)
{
    if (!t)
        return;
    pq_split_free(t->words);
    pq_split_free(t->word_char);
    pq_arena_free(&t->arena);
    pq_free(t);
}
