/*
 * What a model file is worth: perplexity on a text, and how far its predictions are from those of a
 * reference. The written file is what is measured, with phiq's own forward pass.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_EVAL_EVAL_H
#define PQ_EVAL_EVAL_H

#include "infer/session.h"
#include "tok/tokenizer.h"

/* The document of docs/json.md. Windows are those of llama-perplexity: the text (with the
 * tokenizer's beginning) cut into runs of `window` tokens, each read from nothing, its first token
 * the beginning of a text where the tokenizer has one. */
int pq_eval_model(json_t **out, const struct pq_eval_options *s, struct pq_err *e) PQ_MUST_CHECK;

/* A scored position, the position-th of the text; what it points to lives until on_score returns.
 */
struct pq_scored {
    uint64_t position;
    const float *logits, *reference; /* [vocab]; the reference NULL without one */
    size_t vocab;
    double kld;
};
/* Somebody who looks on: called once for every position, from any thread and in any order. */
struct pq_eval_watch {
    void (*on_score)(void *ctx, const struct pq_scored *s);
    void *ctx;
};
int pq_eval_watched(json_t **out, const struct pq_eval_options *s,
                    const struct pq_eval_watch *watch, struct pq_err *e) PQ_MUST_CHECK;

/* ---- windows.c: a text as runs of tokens, each read from nothing ---- */

struct pq_windows {
    struct pq_ids ids; /* of the whole text; window w begins at id[w * size] */
    uint32_t size;
    uint64_t n;
};
/* Tokens of a window: what was asked for, or the usual number as far as the model takes it. */
int pq_windows_size(uint32_t *size, int wanted, const struct pq_model *m,
                    struct pq_err *e) PQ_MUST_CHECK;
/* Cuts the text of a file, its first token the beginning of a text where the tokenizer has one;
 * at most max windows (0 = all). w->size is set before. */
int pq_windows_read(struct pq_windows *w, const struct pq_tokenizer *t, const struct pq_model *m,
                    const char *path, uint64_t max, struct pq_err *e) PQ_MUST_CHECK;
void pq_windows_free(struct pq_windows *w);

/* ---- tally.c: one predicted token after the other ---- */

struct pq_score {
    double nll, ref_nll; /* minus the logarithm of the probability of what came, in nats */
    double kld;          /* of the model from the reference: sum p log(p / q), in nats */
    bool same_top, right, ref_right;
};

/* Scores one position. Reference: logits or log-probabilities [n], or NULL. */
struct pq_score pq_score_position(const float *logits, const float *reference, size_t n,
                                  uint32_t next);
/* log(softmax(x)) of one position. */
void pq_log_softmax(const float *x, size_t n, float *out);

struct pq_tally {
    struct pq_score *score; /* [windows * per_window] in the order of the text */
    size_t n, per_window;
    uint64_t words, bytes; /* of the scored text */
    bool with_reference;
};
/* Perplexity (per token, word, byte), and with a reference KL divergence, agreement and flips, each
 * with the half width of its 95 % confidence interval over windows. */
json_t *pq_tally_report(const struct pq_tally *t);
/* Means so far over the first n scores, for progress. */
double pq_tally_perplexity(const struct pq_tally *t, size_t n);
double pq_tally_kld(const struct pq_tally *t, size_t n);

/* ---- logits_file.c: predictions kept in a file ---- */

/* Header, then log-probabilities as float32 [windows][per_window][vocab], little-endian. */
struct pq_logits_head {
    uint32_t vocab, window, per_window;
    uint64_t windows, text_hash; /* of the ids of all windows */
};
struct pq_logits_file {
    struct pq_logits_head head;
    struct pq_map map;
};
int pq_logits_open(struct pq_logits_file *f, const char *path, struct pq_err *e) PQ_MUST_CHECK;
bool pq_logits_is(const char *path); /* is it such a file? */
/* Log-probabilities of a scored position, read through `row` [vocab]. */
void pq_logits_row(const struct pq_logits_file *f, uint64_t position, float *row);
void pq_logits_close(struct pq_logits_file *f);

struct pq_logits_out {
    struct pq_logits_head head;
    struct pq_whole file; /* to be finished or abandoned */
};
int pq_logits_create(struct pq_logits_out *f, const char *path, const struct pq_logits_head *head,
                     struct pq_err *e) PQ_MUST_CHECK;
int pq_logits_put(struct pq_logits_out *f, uint64_t position, const float *row,
                  struct pq_err *e) PQ_MUST_CHECK;

#endif
