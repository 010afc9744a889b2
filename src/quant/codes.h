/*
 * Codes apart from scales: the grid of an encoded row, and codes put into it.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_QUANT_CODES_H
#define PQ_QUANT_CODES_H

#include "quant/scheme.h"

/* Can codes of this scheme be exchanged? */
bool pq_codes_known(const struct pq_scheme *s);

/* What codes stand for before scale and offset: themselves, or the 16 values of a table. */
struct pq_levels {
    bool even;            /* value[c] = c, whatever their number */
    unsigned first, last; /* codes to be chosen */
    float value[16];      /* otherwise; those of a code book without offset */
};
struct pq_levels pq_codes_levels(const struct pq_scheme *s);

static inline float pq_level(const struct pq_levels *l, unsigned code)
{
    return l->even ? (float)code : l->value[code];
}

/* Code c of column j means low[j] + level(c) step[j], for c from 0 to 2^bits - 1. */
struct pq_grid {
    float *low, *step; /* [cols] */
    uint8_t *code;     /* [cols] */
};
/* Reads the grid off the decoder; the row's own codes are lost. */
void pq_codes_grid(const struct pq_scheme *s, uint64_t cols, void *const part[],
                   const struct pq_grid *g);
void pq_codes_put(const struct pq_scheme *s, const uint8_t *code, uint64_t cols,
                  void *const part[]);

/* The floats of a row that its grid is proportional to: kind k of columns i * span to (i + 1) *
 * span
 * - 1 lies in part[kind[k].part], kind[k].base + i * kind[k].stride bytes from its beginning. */
struct pq_scales {
    int n; /* kinds; 0 where there are none, or only powers of two */
    uint64_t span;
    struct {
        enum { PQ_SCALES_ALL, PQ_SCALES_STEP, PQ_SCALES_LOW } of; /* the grid's low, step or both */
        int part;
        uint64_t base, stride;
    } kind[2];
    enum pq_dtype type;    /* as stored */
    enum pq_dtype rounded; /* what they are multiples of: half precision even in single */
};
struct pq_scales pq_codes_scales(const struct pq_scheme *s, uint64_t cols);
float pq_scales_get(const struct pq_scales *s, int kind, uint64_t i, void *const part[]);
void pq_scales_put(const struct pq_scales *s, int kind, uint64_t i, float v, void *const part[]);
float pq_scales_round(const struct pq_scales *s, float v);

#endif
