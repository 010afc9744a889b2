/*
 * What each matrix of a network costs in each scheme that it could take: the KL divergence of the
 * predictions, with only this matrix quantized, from those of the network as it is.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_EVAL_SENSITIVITY_H
#define PQ_EVAL_SENSITIVITY_H

#include "container/container.h"
#include "eval/eval.h"

/* What is measured, and how. */
struct pq_sensitivity_setup {
    const struct pq_model *m;
    const struct pq_container *const *container; /* [n_containers] whose schemes are candidates */
    size_t n_containers;
    const char *text;
    uint32_t window;  /* tokens; 0 = 512 or the model's limit */
    uint64_t windows; /* spread over the text; 0 = 4 */
    bool every;       /* every scheme goes through the network, not one for each matrix */
    enum pq_solver solver;
    const struct pq_imatrix *imatrix; /* importance and products as far as it has them */
    const char *imatrix_name;         /* recorded; NULL: none */
    int threads;
    const char *cpu_level;
    pq_progress_fn *progress;
    void *progress_ctx;
};

/* The document of docs/json.md. It does not depend on threads or machine.
 *
 * For each matrix one candidate near 4.5 bits goes through the network; the others have its
 * divergence times the ratio of the errors of the matrix's own products (the linearity theorem of
 * Malinovskii et al., arXiv 2411.17525). With `every`, all of them do. Layers before the matrix are
 * not computed again. Memory: the predictions of all tokens, twice what travels between layers, and
 * one quantized matrix. */
int pq_sensitivity_measure(json_t **out, const struct pq_sensitivity_setup *s,
                           struct pq_err *e) PQ_MUST_CHECK;

/* Reads such a document from a file, and checks its form and that it is about this network. */
int pq_sensitivity_read(json_t **out, const char *path, const struct pq_network *net,
                        struct pq_err *e) PQ_MUST_CHECK;
/* The divergence of a tensor's scheme; negative where the document has none. */
double pq_sensitivity_of(const json_t *doc, const struct pq_tensor *t, const struct pq_scheme *s);

#endif
