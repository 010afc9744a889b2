/* How fast a session reads a prompt and generates, beside what the machine can do at that moment.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_INFER_BENCH_H
#define PQ_INFER_BENCH_H

#include "infer/session.h"

enum { PQ_BENCH_REPEATS = 64 };

struct pq_bench {
    uint32_t prompt, generate;             /* tokens */
    int repeats;                           /* 1 to PQ_BENCH_REPEATS */
    int (*on_repeat)(void *ctx, int done); /* non-zero stops; may be NULL */
    void *ctx;
};

/* Of every repeat. They follow one another closely, since shared machines drift. */
struct pq_bench_sample {
    double bandwidth;        /* bytes a second of all threads that only read the weights */
    double prompt, generate; /* tokens a second */
};

struct pq_bench_result {
    int n;
    struct pq_bench_sample sample[PQ_BENCH_REPEATS];
    uint64_t token_bytes; /* that a generated token reads: weights, and the mean of the cache */
    uint64_t token_macs;  /* products with weights that a token of a prompt needs */
};

int pq_bench_run(struct pq_session *s, const struct pq_bench *b, struct pq_bench_result *r,
                 struct pq_err *e) PQ_MUST_CHECK;

#endif
