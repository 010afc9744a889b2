/*
 * Vocabularies as OpenVINO's tokenizer operations take them. BPETokenizer begins with the longest
 * strings of the vocabulary that no merge makes, wherever they are in a word, and then merges. The
 * `tokenizers` library begins with single characters. Both agree when the vocabulary holds
 * single characters and what merges can make of them, and nothing else: the other tokens get a text
 * that no text contains. SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "container/ov_tok.h"
#include "tok/alphabet.h"
#include "tok/merges.h"

#include <string.h>

/* Not UTF-8, so in no text. Must not be empty: attribute unk_token = "" would find it. */
static const char nowhere[2] = {'\xff', '\xff'};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for OpenVINO's tokenizer");
}

/* ---- strings ---- */

void pq_ov_strings_put(struct pq_ov_strings *s, const void *text, size_t len)
{
    pq_buf_le32(&s->begins, (uint32_t)s->chars.len);
    pq_buf_put(&s->chars, text, len);
    pq_buf_le32(&s->ends, (uint32_t)s->chars.len);
}

void pq_ov_strings_free(struct pq_ov_strings *s)
{
    pq_buf_free(&s->begins);
    pq_buf_free(&s->ends);
    pq_buf_free(&s->chars);
}

static pq_ov_ref add_list(struct pq_ov *g, const char *name, const char *part, enum pq_ir_type type,
                          const struct pq_buf *b)
{
    struct pq_ir_value v = {.type = type, .n_dims = 1};
    v.dim[0] = (int64_t)(b->len / (type == PQ_IR_U8 ? 1 : 4));
    g->failed |= b->failed;
    return pq_ov_const(g, pq_ov_name(g, "%s/%s", name, part), v, b->data, b->len);
}

void pq_ov_strings_add(struct pq_ov *g, const char *name, const struct pq_ov_strings *s,
                       pq_ov_ref ref[3])
{
    ref[0] = add_list(g, name, "begins", PQ_IR_I32, &s->begins);
    ref[1] = add_list(g, name, "ends", PQ_IR_I32, &s->ends);
    ref[2] = add_list(g, name, "chars", PQ_IR_U8, &s->chars);
}

/* ---- tokens as bytes ---- */

static struct pq_ov_piece piece_of(const struct pq_vocab *v, const struct pq_token *t, char *room)
{
    size_t n = 1;
    int byte = t->type == PQ_TOKEN_BYTE ? pq_tok_byte_piece(t->text, t->len) : -1;
    if (t->type == PQ_TOKEN_UNUSED)
        return (struct pq_ov_piece){t->text, 0};
    if (byte >= 0)
        *room = (char)byte;
    else if (t->added || v->kind == PQ_VOCAB_SPM ||
             !pq_alphabet_bytes(t->text, t->len, (uint8_t *)room, &n))
        return (struct pq_ov_piece){t->text, t->len};
    return (struct pq_ov_piece){room, n};
}

struct pq_ov_piece *pq_ov_pieces(struct pq_arena *a, const struct pq_vocab *v)
{
    size_t total = 1;
    for (size_t i = 0; i < v->n_tokens; i++)
        total += v->token[i].len;
    struct pq_ov_piece *p = (struct pq_ov_piece *)pq_arena_alloc(a, v->n_tokens, sizeof *p);
    char *room = (char *)pq_arena_alloc(a, total, 1);
    for (size_t i = 0; p && room && i < v->n_tokens; i++) {
        p[i] = piece_of(v, &v->token[i], room);
        room += v->token[i].len;
    }
    return room ? p : NULL;
}

size_t pq_ov_n_used(const struct pq_vocab *v)
{
    size_t n = v->n_tokens;
    while (n && v->token[n - 1].type == PQ_TOKEN_UNUSED)
        n--;
    return n;
}

/* ---- what text can reach ---- */

struct reach {
    const struct pq_vocab *v;
    struct pq_arena *a;
    struct pq_ov_piece *piece;
    struct pq_ov_piece *added;
    size_t n_added;
    const struct pq_merge *merge;
    size_t n_merges;
    uint8_t *alive; /* [n_tokens] */
    uint8_t *kept;  /* [n_merges] */
};

static bool contains(struct pq_ov_piece hay, struct pq_ov_piece needle)
{
    for (size_t i = 0; i + needle.len <= hay.len; i++)
        if (!memcmp(hay.text + i, needle.text, needle.len))
            return true;
    return false;
}

/* Added tokens are cut out of the text first: what contains one is in no word. */
static bool is_cut(const struct reach *r, struct pq_ov_piece p)
{
    for (size_t i = 0; i < r->n_added; i++)
        if (contains(p, r->added[i]))
            return true;
    return false;
}

static size_t char_bytes(char c)
{
    unsigned char u = (unsigned char)c;
    return u < 0xc0 ? 1 : u < 0xe0 ? 2 : u < 0xf0 ? 3 : 4;
}

/* What words begin as: bytes, or characters and, for those that are no token, bytes. */
static void reach_single(struct reach *r)
{
    bool is_char[256] = {false};
    for (size_t i = 0; i < r->v->n_tokens; i++) {
        const struct pq_ov_piece p = r->piece[i];
        const struct pq_token *t = &r->v->token[i];
        size_t one = p.len && r->v->kind == PQ_VOCAB_SPM ? char_bytes(p.text[0]) : 1;
        if (t->added || t->type != PQ_TOKEN_NORMAL || p.len != one || is_cut(r, p))
            continue;
        r->alive[i] = true;
        is_char[(unsigned char)p.text[0]] |= one == 1;
    }
    for (size_t i = 0; i < r->v->n_tokens; i++)
        if (r->v->token[i].type == PQ_TOKEN_BYTE && r->piece[i].len == 1)
            r->alive[i] = !is_char[(unsigned char)r->piece[i].text[0]] && !is_cut(r, r->piece[i]);
}

/* What merges make of them. Merges need not be in an order in which halves come first. */
static void reach_merged(struct reach *r)
{
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < r->n_merges; i++) {
            const struct pq_merge m = r->merge[i];
            if (r->kept[i] || !r->alive[m.left] || !r->alive[m.right] ||
                is_cut(r, r->piece[m.whole]))
                continue;
            r->kept[i] = more = true;
            r->alive[m.whole] = true;
        }
    }
}

/* A SentencePiece vocabulary without tokenizer.json has scores in place of merges. */
static int find_merges(struct reach *r, struct pq_err *e)
{
    struct pq_spm_merge *list = NULL;
    r->merge = r->v->pair;
    r->n_merges = r->v->n_pairs;
    if (r->v->kind != PQ_VOCAB_SPM || r->n_merges)
        return PQ_OK;
    int rc = pq_spm_merges(r->v, r->a, &list, &r->n_merges, e);
    struct pq_merge *copy =
        (struct pq_merge *)pq_arena_alloc(r->a, r->n_merges + 1, sizeof *r->merge);
    for (size_t i = 0; rc >= 0 && copy && i < r->n_merges; i++)
        copy[i] = (struct pq_merge){list[i].left, list[i].right, list[i].whole};
    pq_free(list);
    r->merge = copy;
    return rc < 0 ? rc : copy ? PQ_OK : no_memory(e);
}

static void find_added(struct reach *r)
{
    for (size_t i = 0; i < r->v->n_tokens; i++)
        if (r->v->token[i].added) {
            r->added[r->n_added++] = r->piece[i];
            r->alive[i] = true;
        }
}

static int reach_all(struct reach *r, struct pq_err *e)
{
    int rc;
    PQ_TRY(find_merges(r, e));
    r->piece = pq_ov_pieces(r->a, r->v);
    r->alive = (uint8_t *)pq_arena_alloc(r->a, r->v->n_tokens, 1);
    r->kept = (uint8_t *)pq_arena_alloc(r->a, r->n_merges + 1, 1);
    r->added = (struct pq_ov_piece *)pq_arena_alloc(r->a, r->v->n_tokens, sizeof *r->added);
    if (!r->piece || !r->alive || !r->kept || !r->added)
        return no_memory(e);
    find_added(r);
    reach_single(r);
    reach_merged(r);
out:
    return rc;
}

int pq_ov_bpe_make(struct pq_ov_bpe *b, const struct pq_vocab *v, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct reach r = {.v = v, .a = &a};
    int rc = reach_all(&r, e);
    for (size_t i = 0, n = pq_ov_n_used(v); rc >= 0 && i < n; i++)
        if (r.alive[i])
            pq_ov_strings_put(&b->vocab, r.piece[i].text, r.piece[i].len);
        else
            pq_ov_strings_put(&b->vocab, nowhere, sizeof nowhere);
    for (size_t i = 0; rc >= 0 && i < r.n_merges; i++) {
        if (!r.kept[i])
            continue;
        const struct pq_ov_piece left = r.piece[r.merge[i].left], right = r.piece[r.merge[i].right];
        pq_ov_strings_put(&b->left, left.text, left.len);
        pq_ov_strings_put(&b->right, right.text, right.len);
    }
    pq_arena_free(&a);
    return rc;
}

void pq_ov_bpe_free(struct pq_ov_bpe *b)
{
    pq_ov_strings_free(&b->vocab);
    pq_ov_strings_free(&b->left);
    pq_ov_strings_free(&b->right);
}
