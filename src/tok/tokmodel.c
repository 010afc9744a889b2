/* The model of a tokenizer.json: vocabulary and merges, read front to back out of the text. As a
 * tree of JSON values Phi-4-mini's would take longer to build than all the rest of loading.
 * SPDX-License-Identifier: MIT */
#include "tok/build.h"
#include "base/fs.h"

#include <math.h>
#include <string.h>

enum { MAX_DOCUMENT = 512 << 20 };

/* ---- the document without its long lists ---- */

/* The text of a member that begins with `bracket`, which is left out of the copy. Line numbers
 * stay. */
static bool cut(struct pq_scan *s, char bracket, struct pq_scan *out, struct pq_buf *rest,
                const char **copied)
{
    if (pq_scan_peek(s) != bracket)
        return pq_scan_skip(s);
    const char *from = s->p;
    if (!pq_scan_skip(s))
        return false;
    *out = (struct pq_scan){from, s->p};
    pq_buf_put(rest, *copied, (size_t)(from - *copied) + 1);
    for (const char *p = from; (p = (const char *)memchr(p, '\n', (size_t)(s->p - p))); p++)
        pq_buf_u8(rest, '\n');
    *copied = s->p - 1;
    return true;
}

static bool is_key(const char *key, size_t n, const char *name)
{
    return n == strlen(name) && !memcmp(key, name, n);
}

/* Members of the document (depth 0) and of its model (depth 1). False where this is no JSON. */
static bool cut_members(struct pq_tok *t, struct pq_scan *s, int depth, struct pq_buf *rest,
                        const char **copied)
{
    struct pq_buf scratch = {0};
    const char *key;
    size_t n;
    bool good = pq_scan_take(s, '{');
    if (good && pq_scan_take(s, '}'))
        return true;
    while (good) {
        good = pq_scan_string(s, &scratch, &key, &n) && pq_scan_take(s, ':');
        if (!good)
            break;
        if (!depth && is_key(key, n, "model") && pq_scan_peek(s) == '{')
            good = cut_members(t, s, 1, rest, copied);
        else if (depth && is_key(key, n, "vocab"))
            good = cut(s, '{', &t->vocab, rest, copied);
        else if (depth && is_key(key, n, "merges"))
            good = cut(s, '[', &t->merges, rest, copied);
        else
            good = pq_scan_skip(s);
        if (good && !pq_scan_take(s, ',')) {
            good = pq_scan_take(s, '}');
            break;
        }
    }
    pq_buf_free(&scratch);
    return good;
}

/* Jansson reads the rest, or, when this is no JSON, the whole, to say where it goes wrong. */
static int parse_rest(struct pq_tok *t, size_t size, const char *path)
{
    struct pq_buf rest = {0};
    struct pq_scan s = {t->text, t->text + size};
    const char *copied = t->text;
    int rc;
    bool good = cut_members(t, &s, 0, &rest, &copied);
    pq_buf_put(&rest, copied, size - (size_t)(copied - t->text));
    PQ_TRY(pq_buf_check(&rest, t->e));
    PQ_TRY(pq_json_parse(&t->tokenizer, good ? (const char *)rest.data : t->text,
                         good ? rest.len : size, path, t->e));
    if (!json_is_object(t->tokenizer))
        rc = pq_fail(t->e, PQ_EFORMAT, "%s: not an object", path);
out:
    pq_buf_free(&rest);
    return rc;
}

int pq_tok_open_json(struct pq_tok *t)
{
    char *path = pq_path_join(t->a, t->dir, PQ_TOK_JSON);
    size_t size;
    if (!path)
        return pq_tok_no_memory(t->e);
    if (pq_path_kind(path) == PQ_PATH_NONE)
        return PQ_OK;
    int rc = pq_file_read(path, MAX_DOCUMENT, &t->text, &size, t->e);
    return rc < 0 ? rc : parse_rest(t, size, path);
}

/* ---- vocabulary ---- */

static enum pq_token_type base_type(const struct pq_tok *t, const char *text, size_t n,
                                    const char *unk)
{
    if (t->v->kind != PQ_VOCAB_SPM)
        return PQ_TOKEN_NORMAL;
    if (is_key(text, n, unk))
        return PQ_TOKEN_UNKNOWN;
    return pq_tok_byte_piece(text, n) >= 0 ? PQ_TOKEN_BYTE : PQ_TOKEN_NORMAL;
}

/* ... or memory is out for a text with escapes. */
static int not_a_list(struct pq_tok *t, const struct pq_buf *scratch, const char *what,
                      const char *file)
{
    return scratch->failed ? pq_tok_no_memory(t->e)
                           : pq_fail(t->e, PQ_EFORMAT, "%s: %s", file, what);
}

static int vocab_item(struct pq_tok *t, struct pq_scan *s, struct pq_buf *scratch, const char *unk,
                      const char *file)
{
    const char *text;
    size_t n;
    uint32_t id;
    const float score = t->v->kind == PQ_VOCAB_SPM ? NAN : 0; /* NAN: merges will tell */
    if (!pq_scan_string(s, scratch, &text, &n) || !pq_scan_take(s, ':'))
        return not_a_list(t, scratch, "vocab is not an object of texts and ids", file);
    if (!pq_scan_u32(s, &id))
        return pq_fail(t->e, PQ_EFORMAT, "%s: the id of \"%.*s\" is not an integer", file,
                       (int)(n < 64 ? n : 64), text);
    return pq_tok_put(t, id, text, n, score, base_type(t, text, n, unk), file);
}

int pq_tok_read_vocab(struct pq_tok *t, struct pq_scan s, const char *file)
{
    struct pq_buf scratch = {0};
    const char *unk = "";
    int rc = pq_json_str(json_object_get(t->tokenizer, "model"), "unk_token", &unk, file, t->e);
    if (rc == PQ_OK && (!pq_scan_take(&s, '{') || pq_scan_peek(&s) == '}'))
        rc = pq_fail(t->e, PQ_EFORMAT, "%s: vocab is missing, empty or not an object", file);
    while (rc == PQ_OK) {
        rc = vocab_item(t, &s, &scratch, unk, file);
        if (rc < 0 || pq_scan_take(&s, ','))
            continue;
        if (!pq_scan_take(&s, '}') || pq_scan_peek(&s))
            rc = not_a_list(t, &scratch, "vocab is not an object of texts and ids", file);
        break;
    }
    pq_buf_free(&scratch);
    return rc;
}

int pq_tok_json_vocab(struct pq_tok *t)
{
    return pq_tok_read_vocab(t, t->vocab, PQ_TOK_JSON);
}

/* ---- merges ---- */

int pq_tok_room_for_merges(struct pq_tok *t, size_t n)
{
    t->v->merge = (const char **)pq_arena_alloc(t->a, n, sizeof *t->v->merge);
    t->v->pair = (struct pq_merge *)pq_arena_alloc(t->a, n, sizeof *t->v->pair);
    return t->v->merge && t->v->pair ? PQ_OK : pq_tok_no_memory(t->e);
}

/* What "left right" makes. Published vocabularies have tokens in the order of their merges, so the
 * one after the last is tried before the table. */
static uint32_t whole_of(const struct pq_tok *t, char *pair, size_t n_left, size_t n_right)
{
    const struct pq_vocab *v = t->v;
    char *right = pair + n_left + 1;
    size_t guess = v->n_pairs ? v->pair[v->n_pairs - 1].whole + 1u : v->n_tokens;
    if (guess < v->n_tokens && v->token[guess].len == n_left + n_right &&
        !memcmp(v->token[guess].text, pair, n_left) &&
        !memcmp(v->token[guess].text + n_left, right, n_right))
        return (uint32_t)guess;
    memmove(pair + n_left, right, n_right); /* side by side, for one look-up */
    uint32_t whole = pq_strmap_get(&t->ids, pair, n_left + n_right);
    memmove(right, pair + n_left, n_right);
    pair[n_left] = ' ';
    return whole;
}

/* One merge, "left right" in the arena: both halves and the whole must be tokens, else the
 * `tokenizers` library refuses too. */
static int check_merge(struct pq_tok *t, char *pair, size_t n_left, size_t n_right,
                       const char *file, struct pq_merge *m)
{
    const char *right = pair + n_left + 1;
    bool words = n_left && n_right && !memchr(pair, ' ', n_left) && !memchr(right, ' ', n_right);
    m->left = pq_strmap_get(&t->ids, pair, n_left);
    m->right = pq_strmap_get(&t->ids, right, n_right);
    m->whole = whole_of(t, pair, n_left, n_right);
    if (!words || m->left == PQ_STRMAP_NONE || m->right == PQ_STRMAP_NONE ||
        m->whole == PQ_STRMAP_NONE)
        return pq_fail(t->e, PQ_EFORMAT, "%s: merge %zu (\"%.64s\") does not make tokens of tokens",
                       file, t->v->n_merges, pair);
    return PQ_OK;
}

int pq_tok_merge(struct pq_tok *t, const char *left, size_t n_left, const char *right,
                 size_t n_right, const char *file)
{
    struct pq_merge ids;
    char *pair = (char *)pq_arena_alloc(t->a, n_left + n_right + 2, 1);
    if (!pair)
        return pq_tok_no_memory(t->e);
    memcpy(pair, left, n_left);
    pair[n_left] = ' ';
    memcpy(pair + n_left + 1, right, n_right);
    int rc = check_merge(t, pair, n_left, n_right, file, &ids);
    if (rc < 0)
        return rc;
    struct pq_token *tok = &t->v->token[ids.whole];
    if (isnan(tok->score)) /* SPM without scores: earlier merges get higher ones */
        tok->score = -(float)t->v->n_merges;
    t->v->merge[t->v->n_merges++] = pair;
    t->v->pair[t->v->n_pairs++] = ids;
    return PQ_OK;
}

/* Either "left right" or ["left", "right"]. */
static int merge_item(struct pq_tok *t, struct pq_scan *s, struct pq_buf scratch[2])
{
    const char *l, *r, *space;
    size_t n_l, n_r;
    if (pq_scan_take(s, '[')) {
        if (pq_scan_string(s, &scratch[0], &l, &n_l) && pq_scan_take(s, ',') &&
            pq_scan_string(s, &scratch[1], &r, &n_r) && pq_scan_take(s, ']'))
            return pq_tok_merge(t, l, n_l, r, n_r, PQ_TOK_JSON);
    } else if (pq_scan_string(s, &scratch[0], &l, &n_l)) {
        space = n_l ? (const char *)memchr(l, ' ', n_l) : NULL;
        if (space)
            return pq_tok_merge(t, l, (size_t)(space - l), space + 1, n_l - (size_t)(space - l) - 1,
                                PQ_TOK_JSON);
    }
    if (scratch[0].failed || scratch[1].failed)
        return pq_tok_no_memory(t->e);
    return pq_fail(t->e, PQ_EFORMAT, "%s: merge %zu is not a pair", PQ_TOK_JSON, t->v->n_merges);
}

static size_t count_items(struct pq_scan s)
{
    size_t n = 0;
    for (bool more = pq_scan_take(&s, '['); more && pq_scan_skip(&s); more = pq_scan_take(&s, ','))
        n++;
    return n;
}

static int read_merges(struct pq_tok *t, struct pq_scan s)
{
    struct pq_buf scratch[2] = {{0}, {0}};
    int rc = pq_tok_room_for_merges(t, count_items(s));
    bool more = pq_scan_take(&s, '[') && pq_scan_peek(&s) != ']';
    for (; rc == PQ_OK && more; more = pq_scan_take(&s, ','))
        rc = merge_item(t, &s, scratch);
    if (rc == PQ_OK && (!pq_scan_take(&s, ']') || pq_scan_peek(&s)))
        rc = pq_fail(t->e, PQ_EFORMAT, "%s: merges is not a list", PQ_TOK_JSON);
    pq_buf_free(&scratch[0]);
    pq_buf_free(&scratch[1]);
    return rc;
}

/* Without tokenizer.model an SPM vocabulary has no scores. Merging picks the pair whose whole has
 * the highest score, so minus the rank of the first merge that makes a piece keeps the order; what
 * no merge makes (single characters) may have any score. */
static void settle_scores(struct pq_vocab *v)
{
    size_t next = v->n_merges;
    for (size_t i = 0; i < v->n_tokens; i++)
        if (isnan(v->token[i].score))
            v->token[i].score = v->token[i].type == PQ_TOKEN_NORMAL ? -(float)next++ : 0;
}

int pq_tok_json_merges(struct pq_tok *t)
{
    struct pq_vocab *v = t->v;
    if (!t->merges.p)
        return pq_fail(t->e, PQ_EFORMAT, "%s: merges is missing or not a list", PQ_TOK_JSON);
    int rc = read_merges(t, t->merges);
    if (rc < 0)
        return rc;
    settle_scores(v);
    if (v->kind == PQ_VOCAB_SPM) { /* GGUF has no merges beside scores */
        v->merge = NULL;
        v->n_merges = 0;
    }
    return PQ_OK;
}
