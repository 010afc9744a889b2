/*
 * What goes into a network's products on a text: sums of squares for each column, as an importance
 * matrix. SPDX-License-Identifier: MIT
 */
#ifndef PQ_EVAL_CALIBRATE_H
#define PQ_EVAL_CALIBRATE_H

#include "eval/eval.h"

/* Writes the file, and the document of docs/json.md. All windows go through one layer before the
 * next: memory is what travels between layers (windows x window x hidden floats) and the sums of
 * one layer. */
int pq_calibrate_model(json_t **out, const struct pq_calibrate_options *s,
                       struct pq_err *e) PQ_MUST_CHECK;

/* ---- products.c ---- */

/* Adds the products of all pairs of columns to the lower triangle; turned has room for in->n * cols
 * floats. */
void pq_products_add(float *lower, const struct pq_inputs *in, const struct pq_compute *compute,
                     float *turned);

#endif
