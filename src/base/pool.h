/*
 * A pool of threads for work that comes in small pieces: workers spin for a moment after each
 * round, then sleep. SPDX-License-Identifier: MIT
 */
#ifndef PQ_BASE_POOL_H
#define PQ_BASE_POOL_H

#include "base/err.h"

struct pq_pool;
/* `threads` workers, the caller among them; fewer when the system refuses some. 0 = all CPUs. */
int pq_pool_new(struct pq_pool **out, int threads, struct pq_err *e) PQ_MUST_CHECK;
void pq_pool_free(struct pq_pool *p); /* NULL is fine */
int pq_pool_threads(const struct pq_pool *p);

/* fn(ctx, item, worker) for items 0 to n - 1, taken one after the other by whoever is free; returns
 * when all are done. What an item does must not depend on the worker but for its scratch memory.
 * One caller at a time. */
void pq_pool_each(struct pq_pool *p, uint64_t n, void (*fn)(void *ctx, uint64_t item, int worker),
                  void *ctx);

#endif
