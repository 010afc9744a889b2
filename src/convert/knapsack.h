/*
 * One option for each of several items: the least loss within a number of bytes, or the fewest
 * bytes within a loss. By dynamic programming over bytes: exact where all sizes are multiples of a
 * unit that is not too small (for real networks they are), else on sizes rounded up to a coarser
 * one, so that a limit is kept in any case. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONVERT_KNAPSACK_H
#define PQ_CONVERT_KNAPSACK_H

#include "base/err.h"

struct pq_option {
    uint64_t bytes;
    double loss; /* not negative */
};
struct pq_item_options {
    const struct pq_option *option;
    size_t n; /* at least 1, at most 255 */
};
struct pq_knapsack {
    const struct pq_item_options *item;
    size_t n;
};

/* Sums over the options picked [k->n]. */
struct pq_option pq_knapsack_sum(const struct pq_knapsack *k, const uint8_t *pick);
/* Of all picks, the fewest and the most bytes, and the least loss. */
uint64_t pq_knapsack_fewest(const struct pq_knapsack *k);
uint64_t pq_knapsack_most(const struct pq_knapsack *k);
double pq_knapsack_least_loss(const struct pq_knapsack *k);

/* Least loss within `bytes`, which must not be below pq_knapsack_fewest. Of equal losses the fewer
 * bytes; the same pick on every machine. */
int pq_knapsack_within_bytes(const struct pq_knapsack *k, uint64_t bytes, uint8_t *pick,
                             struct pq_err *e) PQ_MUST_CHECK;
/* Fewest bytes within `loss`, which must not be below pq_knapsack_least_loss. */
int pq_knapsack_within_loss(const struct pq_knapsack *k, double loss, uint8_t *pick,
                            struct pq_err *e) PQ_MUST_CHECK;

#endif
