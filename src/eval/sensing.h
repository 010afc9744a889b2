/*
 * Inside the measuring of sensitivity: a text, the network, and how far it has come.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_EVAL_SENSING_H
#define PQ_EVAL_SENSING_H

#include "base/num.h"
#include "eval/sensitivity.h"
#include "eval/trial.h"

enum {
    PQ_NO_LAYER = -2,     /* -1 are embedding and head */
    PQ_SENSING_BATCH = 64 /* positions whose logits are in memory at once */
};

struct pq_sensed {
    const struct pq_scheme *scheme;
    double error, kld;
    bool measured;
};

/* Of one matrix. */
struct pq_subject {
    struct pq_sample sample;
    struct pq_sensed list[4 * PQ_MAX_CANDIDATES];
    size_t n;
};

struct pq_sensing {
    const struct pq_sensitivity_setup *set;
    const struct pq_network *net;
    struct pq_session *s;
    struct pq_windows text;
    uint64_t windows, tokens;
    float *h;                   /* [tokens][hidden] before the layer at hand */
    float *next;                /* the same after it */
    float *reference;           /* [tokens][vocab] log-probabilities */
    float *work;                /* [window][hidden] */
    float *logits;              /* [PQ_SENSING_BATCH][vocab] */
    double *score;              /* [tokens] */
    struct pq_subject *subject; /* [n_tensors], those of the layer at hand in use */
    int layer;                  /* whose inputs are kept: the one at hand, or PQ_NO_LAYER */
    uint64_t input_step;        /* every so many-th input is kept */
    bool no_memory;
    struct pq_trial_setup trial;
    struct pq_feedback feedback;
    json_t *rows;
    size_t done, matrices;
    double began;
};

/* Reads the text and settles which of it is used. */
int pq_sensing_read(struct pq_sensing *r, struct pq_err *e) PQ_MUST_CHECK;
/* Leaves the embedded tokens in r->h and the predictions in r->reference. */
int pq_sensing_reference(struct pq_sensing *r, struct pq_err *e) PQ_MUST_CHECK;
/* Window w of r->h or r->next. */
float *pq_sensing_window(const struct pq_sensing *r, float *h, uint64_t w);
/* A window from where tensor t comes in to the predictions: r->score of its tokens. */
int pq_sensing_from(const struct pq_sensing *r, const struct pq_tensor *t, uint64_t w,
                    struct pq_err *e) PQ_MUST_CHECK;

#endif
