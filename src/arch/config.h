/* Reading config.json: what both architectures share. Private to the room.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_ARCH_CONFIG_H
#define PQ_ARCH_CONFIG_H

#include "arch/network.h"

#define PQ_CONFIG_FILE "config.json"
#define PQ_GENERATION_FILE "generation_config.json"

/* What differs between the architectures when a config is read. */
struct pq_config_rule {
    const char *eps_key;
    enum pq_norm norm;
    enum pq_act act;
    double partial_rotary; /* when the config does not say */
    bool has_longrope;
    const char *const *must_be_false; /* NULL-ended switches that would change the network */
};

/* Everything of struct pq_hparams that config.json gives. */
int pq_config_read(struct pq_hparams *hp, const json_t *config, const struct pq_config_rule *rule,
                   struct pq_arena *a, struct pq_err *e) PQ_MUST_CHECK;

/* Rotation: theta, rotated dimensions, LongRoPE factors. hp->head_dim and max_position are set. */
int pq_config_rope(struct pq_hparams *hp, const json_t *config, const struct pq_config_rule *rule,
                   struct pq_arena *a, struct pq_err *e) PQ_MUST_CHECK;

/* What multiplies cos and sin under LongRoPE when a config does not say: section "longrope" of
 * modeling_rope_utils in transformers. */
double pq_longrope_factor(const struct pq_hparams *hp);

/* bos, pad where still unset; eos ids that are new. `file` names obj in messages. */
int pq_config_ids(struct pq_hparams *hp, const json_t *obj, const char *file,
                  struct pq_err *e) PQ_MUST_CHECK;

/* An integer member within [min, max]; *v keeps its value when the key is absent or null. */
int pq_config_u32(const json_t *obj, const char *key, uint32_t min, uint32_t max, uint32_t *v,
                  struct pq_err *e) PQ_MUST_CHECK;

/* The names of enum pq_act in configs: the first is the published one. NULL-ended. */
extern const char *const *const pq_act_names[];

extern const struct pq_arch pq_arch_phi, pq_arch_phi3;

#endif
