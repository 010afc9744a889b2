/*
 * Merges of a SentencePiece vocabulary, in the order in which its scores would take them: what the
 * `tokenizers` library needs in place of scores. The ways to make one piece have equal scores; they
 * follow in order of the left, then the right half's id, as in the published tokenizer.json of
 * Phi-3. SPDX-License-Identifier: MIT
 */
#include "tok/merges.h"

#include <stdlib.h>
#include <string.h>

struct list {
    struct pq_spm_merge *item;
    size_t n, cap;
};

static bool push(struct list *l, struct pq_spm_merge m)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 1024;
        void *grown = pq_realloc(l->item, cap, sizeof *l->item);
        if (!grown)
            return false;
        l->item = (struct pq_spm_merge *)grown;
        l->cap = cap;
    }
    l->item[l->n++] = m;
    return true;
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Pieces that text can reach: control tokens and holes are never spelled. */
static bool is_piece(const struct pq_token *tok)
{
    return tok->type == PQ_TOKEN_NORMAL;
}

static uint32_t piece_id(const struct pq_vocab *v, const struct pq_strmap *ids, const char *s,
                         size_t n)
{
    uint32_t id = pq_strmap_get(ids, s, n);
    return id != PQ_STRMAP_NONE && is_piece(&v->token[id]) ? id : PQ_STRMAP_NONE;
}

/* Every way to cut a piece into two pieces. */
static bool cut(const struct pq_vocab *v, const struct pq_strmap *ids, uint32_t id, struct list *l)
{
    const struct pq_token *tok = &v->token[id];
    for (uint32_t at = 1; at < tok->len; at++) {
        if (is_continuation(tok->text[at]))
            continue;
        uint32_t left = piece_id(v, ids, tok->text, at);
        if (left == PQ_STRMAP_NONE)
            continue;
        uint32_t right = piece_id(v, ids, tok->text + at, tok->len - at);
        if (right != PQ_STRMAP_NONE && !push(l, (struct pq_spm_merge){tok->score, left, right, id}))
            return false;
    }
    return true;
}

static int ascending(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_rank(const void *pa, const void *pb)
{
    const struct pq_spm_merge *a = (const struct pq_spm_merge *)pa;
    const struct pq_spm_merge *b = (const struct pq_spm_merge *)pb;
    int c = (a->score < b->score) - (a->score > b->score);
    c = c ? c : ascending(a->whole, b->whole);
    c = c ? c : ascending(a->left, b->left);
    return c ? c : ascending(a->right, b->right);
}

int pq_spm_merges(const struct pq_vocab *v, struct pq_arena *a, struct pq_spm_merge **out,
                  size_t *n, struct pq_err *e)
{
    struct pq_strmap ids;
    struct list l = {0};
    bool ok = pq_strmap_init(&ids, a, v->n_tokens) == PQ_OK;
    for (size_t i = 0; ok && i < v->n_tokens; i++)
        pq_strmap_add(&ids, v->token[i].text, v->token[i].len, (uint32_t)i);
    for (size_t i = 0; ok && i < v->n_tokens; i++)
        if (is_piece(&v->token[i]))
            ok = cut(v, &ids, (uint32_t)i, &l);
    if (ok && l.n)
        qsort(l.item, l.n, sizeof *l.item, by_rank);
    *out = l.item;
    *n = l.n;
    return ok ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for the tokenizer");
}
