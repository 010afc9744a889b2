/* Merging of symbols, first things first. Private to the room. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_BPE_H
#define PQ_TOK_BPE_H

#include "tok/ids.h"
#include "tok/vocab.h"

#define PQ_BPE_FREE UINT32_MAX

/* All merges of a vocabulary, found by their halves. */
struct pq_bpe {
    struct pq_bpe_slot {
        uint32_t left, right, whole, rank; /* whole = PQ_BPE_FREE: no merge */
    } * slot;
    uint32_t mask;
};

/* Room to work in, used for many words. Zero-initialise to start. */
struct pq_bpe_work {
    struct pq_bpe_link {
        uint32_t prev, next;
    } * link;
    size_t n_links;
    struct pq_bpe_item {
        uint64_t key;  /* rank, then place */
        uint32_t slot; /* of the merge */
    } * heap;
    size_t n_heap, heap_cap;
};

int pq_bpe_init(struct pq_bpe *b, struct pq_arena *a, const struct pq_vocab *v,
                struct pq_err *e) PQ_MUST_CHECK;
/* Merges the symbols ids[from..] in place: the merge of lowest rank first, of equal ones the
 * leftmost. Time n log n. False when memory is out. */
bool pq_bpe_merge(const struct pq_bpe *b, struct pq_bpe_work *w, struct pq_ids *ids, size_t from);
void pq_bpe_work_free(struct pq_bpe_work *w);

#endif
