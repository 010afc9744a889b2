/* How fast a session reads prompts and generates, beside what the machine can do at that moment.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_INFER_BENCH_H
#define PQ_INFER_BENCH_H

#include "infer/session.h"

enum { PQ_BENCH_REPEATS = 64, PQ_BENCH_PROMPTS = 8 };

struct pq_bench {
    uint32_t prompt[PQ_BENCH_PROMPTS]; /* tokens; 0: nothing is read before generating */
    int n_prompts;
    uint32_t generate;           /* tokens after each prompt; 0: none */
    int repeats;                 /* of all prompts; 1 to PQ_BENCH_REPEATS */
    int (*on_sample)(void *ctx); /* after each; non-zero stops; may be NULL */
    void *ctx;
};

/* Of a prompt and what is generated after it. The machine is measured before and after, since
 * shared ones drift; the mean counts. */
struct pq_bench_sample {
    double macs;             /* 8-bit products a second of all threads that only multiply */
    double bandwidth;        /* bytes a second of all threads that only read the weights */
    double prompt, generate; /* tokens a second */
};

struct pq_bench_result {
    int n; /* repeats */
    struct pq_bench_sample sample[PQ_BENCH_PROMPTS][PQ_BENCH_REPEATS];
    uint64_t token_bytes[PQ_BENCH_PROMPTS]; /* that a generated token reads: weights, and the mean
                                               of keys and values */
    uint64_t token_macs; /* products with weights that a token of a prompt needs */
};

/* r is large: not for the stack. */
int pq_bench_run(struct pq_session *s, const struct pq_bench *b, struct pq_bench_result *r,
                 struct pq_err *e) PQ_MUST_CHECK;

#endif
