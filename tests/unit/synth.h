/* Networks with the shapes of real models and no weights, for tests of plans and recipes.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_TEST_SYNTH_H
#define PQ_TEST_SYNTH_H

#include "container/container.h"

struct synth_shape {
    const char *name, *arch;
    uint32_t n_layers, hidden, ff, n_heads, n_kv_heads, vocab, rot_dims;
    bool tied, longrope;
};

extern const struct synth_shape synth_phi2, synth_phi35_mini, synth_phi4, synth_phi4_mini;

/* A model over m->arena with a vocabulary of placeholder tokens; pq_arena_free(&m->arena). */
void synth_model(struct pq_model *m, const struct synth_shape *s);

#endif
