/*
 * Byte-pair encoding: symbols in a linked list, possible merges in a heap. A merge takes two
 * entries of the list together and offers at most two new ones; entries of the heap whose halves
 * have gone are passed over. SPDX-License-Identifier: MIT
 */
#include "tok/bpe.h"
#include "tok/merges.h"

enum { MAX_PAIRS = 1 << 27 };
#define FREE PQ_BPE_FREE
#define END UINT32_MAX

static size_t hash(uint32_t left, uint32_t right)
{
    uint64_t x = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u;
    return (size_t)(x >> 32 ^ x >> 15);
}

static uint32_t find(const struct pq_bpe *b, uint32_t left, uint32_t right)
{
    uint32_t i = (uint32_t)hash(left, right) & b->mask;
    while (b->slot[i].whole != FREE && (b->slot[i].left != left || b->slot[i].right != right))
        i = (i + 1) & b->mask;
    return i;
}

static bool make_table(struct pq_bpe *b, struct pq_arena *a, size_t n)
{
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    b->slot = (struct pq_bpe_slot *)pq_arena_alloc(a, size, sizeof *b->slot);
    b->mask = (uint32_t)(size - 1);
    for (size_t i = 0; b->slot && i < size; i++)
        b->slot[i].whole = FREE;
    return b->slot != NULL;
}

/* The first merge of two halves counts. */
static void add(struct pq_bpe *b, uint32_t left, uint32_t right, uint32_t whole, uint32_t rank)
{
    struct pq_bpe_slot *s = &b->slot[find(b, left, right)];
    if (s->whole == FREE)
        *s = (struct pq_bpe_slot){left, right, whole, rank};
}

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory for the tokenizer");
}

/* All ways to make one piece have the piece's score: SentencePiece takes the leftmost of them. */
static int from_scores(struct pq_bpe *b, struct pq_arena *a, const struct pq_vocab *v,
                       struct pq_err *e)
{
    struct pq_arena scratch = {0};
    struct pq_spm_merge *m = NULL;
    size_t n;
    uint32_t rank = 0;
    int rc;
    PQ_TRY(pq_spm_merges(v, &scratch, &m, &n, e));
    if (n > MAX_PAIRS || !make_table(b, a, n))
        PQ_TRY(no_memory(e));
    for (size_t i = 0; i < n; i++) {
        rank += i && m[i].score != m[i - 1].score;
        add(b, m[i].left, m[i].right, m[i].whole, rank);
    }
out:
    pq_free(m);
    pq_arena_free(&scratch);
    return rc;
}

int pq_bpe_init(struct pq_bpe *b, struct pq_arena *a, const struct pq_vocab *v, struct pq_err *e)
{
    if (v->kind == PQ_VOCAB_SPM && !v->n_pairs)
        return from_scores(b, a, v, e);
    if (v->n_pairs > MAX_PAIRS || !make_table(b, a, v->n_pairs))
        return no_memory(e);
    for (size_t i = 0; i < v->n_pairs; i++)
        add(b, v->pair[i].left, v->pair[i].right, v->pair[i].whole, (uint32_t)i);
    return PQ_OK;
}

/* ---- the heap: smallest key on top ---- */

static bool heap_push(struct pq_bpe_work *w, struct pq_bpe_item x)
{
    if (w->n_heap == w->heap_cap) {
        size_t cap = w->heap_cap ? 2 * w->heap_cap : 64;
        void *grown = pq_realloc(w->heap, cap, sizeof *w->heap);
        if (!grown)
            return false;
        w->heap = (struct pq_bpe_item *)grown;
        w->heap_cap = cap;
    }
    size_t i = w->n_heap++;
    for (; i && w->heap[(i - 1) / 2].key > x.key; i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = x;
    return true;
}

static struct pq_bpe_item heap_pop(struct pq_bpe_work *w)
{
    struct pq_bpe_item top = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        child += child + 1 < w->n_heap && w->heap[child + 1].key < w->heap[child].key;
        if (last.key <= w->heap[child].key)
            break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = last;
    return top;
}

/* ---- merging ---- */

static bool start_list(struct pq_bpe_work *w, size_t n)
{
    if (n > w->n_links) {
        size_t cap = n < 64 ? 64 : n + n / 2;
        void *grown = pq_realloc(w->link, cap, sizeof *w->link);
        if (!grown)
            return false;
        w->link = (struct pq_bpe_link *)grown;
        w->n_links = cap;
    }
    for (size_t i = 0; i < n; i++)
        w->link[i] = (struct pq_bpe_link){(uint32_t)i - 1, (uint32_t)i + 1}; /* first: END */
    w->link[n - 1].next = END;
    return true;
}

/* Offers what the symbol at i and the one after it make, if anything. */
static bool offer(const struct pq_bpe *b, struct pq_bpe_work *w, const uint32_t *sym, uint32_t i)
{
    uint32_t next = w->link[i].next;
    if (next == END)
        return true;
    uint32_t slot = find(b, sym[i], sym[next]);
    if (b->slot[slot].whole == FREE)
        return true;
    return heap_push(w, (struct pq_bpe_item){(uint64_t)b->slot[slot].rank << 32 | i, slot});
}

/* Takes the symbol after i into the one at i. Its place is marked by a link to itself. */
static void join(struct pq_bpe_work *w, uint32_t *sym, uint32_t i, uint32_t whole)
{
    uint32_t gone = w->link[i].next, after = w->link[gone].next;
    sym[i] = whole;
    w->link[i].next = after;
    w->link[gone].next = gone;
    if (after != END)
        w->link[after].prev = i;
}

static bool merge_all(const struct pq_bpe *b, struct pq_bpe_work *w, uint32_t *sym)
{
    while (w->n_heap) {
        struct pq_bpe_item top = heap_pop(w);
        const struct pq_bpe_slot *m = &b->slot[top.slot];
        uint32_t i = (uint32_t)top.key, next = w->link[i].next, prev = w->link[i].prev;
        if (next == END || next == i || sym[i] != m->left || sym[next] != m->right)
            continue;
        join(w, sym, i, m->whole);
        if ((prev != END && !offer(b, w, sym, prev)) || !offer(b, w, sym, i))
            return false;
    }
    return true;
}

bool pq_bpe_merge(const struct pq_bpe *b, struct pq_bpe_work *w, struct pq_ids *ids, size_t from)
{
    size_t n = ids->n - from;
    uint32_t *sym = ids->id + from;
    if (n < 2)
        return true;
    if (!start_list(w, n))
        return false;
    w->n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++)
        if (!offer(b, w, sym, i))
            return false;
    if (!merge_all(b, w, sym))
        return false;
    size_t k = 0;
    for (uint32_t i = 0; i != END; i = w->link[i].next)
        sym[k++] = sym[i];
    ids->n = from + k;
    return true;
}

void pq_bpe_work_free(struct pq_bpe_work *w)
{
    pq_free(w->link);
    pq_free(w->heap);
    *w = (struct pq_bpe_work){0};
}
