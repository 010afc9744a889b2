/*
 * Refinement of a written model: its codes and norms learn from the predictions of the checkpoint
 * that it was quantized from, through the whole network. The grids stay, so that the result has the
 * same bytes in the same places, in any container. SPDX-License-Identifier: MIT
 */
#ifndef PQ_REFINE_REFINE_H
#define PQ_REFINE_REFINE_H

#include "refine/student.h"
#include "wire/json.h"

/* Writes options->out, and the document of docs/json.md. */
int pq_refine_model(json_t **out, const struct pq_refine_options *o,
                    struct pq_err *e) PQ_MUST_CHECK;

/* ---- loss.c: how far the student is from the reference ---- */

struct pq_teacher {
    struct pq_session *s;
    float *logits, *own; /* [size][vocab] of the reference, of the student */
    float *scratch;      /* [workers][vocab] */
    double *kld;         /* [size] */
};
int pq_teacher_new(struct pq_teacher *t, const struct pq_model *m, const struct pq_student *s,
                   const struct pq_student_setup *setup, struct pq_err *e) PQ_MUST_CHECK;
void pq_teacher_free(struct pq_teacher *t);

/* Mean KL divergence of the windows that pq_student_forward has just read, in nats per token. With
 * learn: its gradient goes to s->d_x and to the head. */
int pq_teacher_loss(struct pq_teacher *t, struct pq_student *s, const uint32_t *id,
                    uint32_t windows, bool learn, double *loss, struct pq_err *e) PQ_MUST_CHECK;

/* ---- patch.c: a copy of a model with other codes and vectors ---- */

/* May this be written? */
int pq_patch_check(const char *out, bool force, struct pq_err *e) PQ_MUST_CHECK;
/* The model's file or folder with what the student has learned, read back before it gets its name.
 */
int pq_patch_write(const struct pq_student *s, const char *out, bool force,
                   struct pq_err *e) PQ_MUST_CHECK;

#endif
