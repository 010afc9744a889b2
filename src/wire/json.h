/*
 * The face of the JSON library (Jansson): reading whole documents with limits and words, typed
 * look-ups with defaults, and number formatting that round-trips. SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_JSON_H
#define PQ_WIRE_JSON_H

#include "base/mem.h"
#include <jansson.h>

/* Parses a document of `size` bytes; duplicate keys and NaN are refused. `file` names it in
 * messages. The caller json_decref()s. */
int pq_json_parse(json_t **out, const char *text, size_t size, const char *file,
                  struct pq_err *e) PQ_MUST_CHECK;
/* Reads and parses a file; PQ_EIO when missing. */
int pq_json_load(json_t **out, const char *path, struct pq_err *e) PQ_MUST_CHECK;
/* Like pq_json_load, but a missing file yields *out = NULL and PQ_OK. */
int pq_json_load_optional(json_t **out, const char *path, struct pq_err *e) PQ_MUST_CHECK;

/* Typed members of an object: *v is left alone and PQ_OK returned when the key is absent or null;
 * PQ_EFORMAT with words ("config.json: hidden_size is a string, expected an integer") when it has
 * another type or is out of range. */
int pq_json_u64(const json_t *obj, const char *key, uint64_t *v, const char *file,
                struct pq_err *e) PQ_MUST_CHECK;
int pq_json_f64(const json_t *obj, const char *key, double *v, const char *file,
                struct pq_err *e) PQ_MUST_CHECK;
int pq_json_bool(const json_t *obj, const char *key, bool *v, const char *file,
                 struct pq_err *e) PQ_MUST_CHECK;
int pq_json_str(const json_t *obj, const char *key, const char **v, const char *file,
                struct pq_err *e) PQ_MUST_CHECK; /* borrowed from obj */

/* Indented text with sorted keys, appended to b. */
int pq_json_print(struct pq_buf *b, const json_t *j, struct pq_err *e) PQ_MUST_CHECK;

#endif
