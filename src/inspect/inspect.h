/*
 * Looking at models: what a file holds, how far two models are apart, what fits a device.
 * Every answer is a JSON document (docs/json.md) that the command line renders.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_INSPECT_INSPECT_H
#define PQ_INSPECT_INSPECT_H

#include "convert/convert.h"

int pq_inspect_info(json_t **out, const char *path, bool with_tensors,
                    struct pq_err *e) PQ_MUST_CHECK;

/* Containers with their recipes, and every scheme. */
int pq_inspect_schemes(json_t **out, struct pq_err *e) PQ_MUST_CHECK;

/* Relative RMS error per tensor of b against a. Networks must have the same tensors and shapes. */
int pq_inspect_compare(json_t **out, const char *a, const char *b, int threads,
                       struct pq_err *e) PQ_MUST_CHECK;

/* A text, or a conversation in JSON for the chat template of this name (NULL: the model's own). */
struct pq_text {
    const char *text;
    size_t size;
    bool chat;
    const char *template_name;
};
int pq_inspect_tokenize(json_t **out, const char *path, const struct pq_text *what,
                        struct pq_err *e) PQ_MUST_CHECK;

/* One row per kind of device that `plan` advises on. */
struct pq_device {
    const char *name, *about;
    double usual_ram;         /* bytes that such a device has */
    double share;             /* of it that a model may take */
    const char *container;    /* runtime that people use there */
    const char *precision[4]; /* from the most wanted to the last resort */
    const char *advice;
};
extern const struct pq_device pq_devices[]; /* ended by name NULL */

/* Bytes and memory of every precision and container; advice when a device or ram is given. */
int pq_inspect_plan(json_t **out, const char *path, const char *device, uint64_t ram,
                    uint64_t context, struct pq_err *e) PQ_MUST_CHECK;

#endif
