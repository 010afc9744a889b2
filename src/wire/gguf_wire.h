/*
 * GGUF version 2 and 3: header, key-value pairs, tensor infos. Read from memory, written to a
 * buffer. Layout: the GGUF specification of ggml (docs/gguf.md). SPDX-License-Identifier: MIT
 *
 *   "GGUF" u32 version, u64 tensor count, u64 pair count
 *   pair:   u64 length + key, u32 type, value         (string: u64 length + bytes;
 *                                                      array: u32 type, u64 count, values)
 *   tensor: u64 length + name, u32 n_dims, u64 dim[] (fastest first), u32 type, u64 offset
 *   padding to general.alignment, then the data
 */
#ifndef PQ_WIRE_GGUF_WIRE_H
#define PQ_WIRE_GGUF_WIRE_H

#include "base/mem.h"

enum pq_gguf_type {
    PQ_GGUF_U8,
    PQ_GGUF_I8,
    PQ_GGUF_U16,
    PQ_GGUF_I16,
    PQ_GGUF_U32,
    PQ_GGUF_I32,
    PQ_GGUF_F32,
    PQ_GGUF_BOOL,
    PQ_GGUF_STRING,
    PQ_GGUF_ARRAY,
    PQ_GGUF_U64,
    PQ_GGUF_I64,
    PQ_GGUF_F64
};

struct pq_gguf_str {
    const char *s; /* not NUL-terminated, borrowed from the file */
    uint64_t len;
};

struct pq_gguf_kv {
    const char *key; /* NUL-terminated copy */
    enum pq_gguf_type type;
    enum pq_gguf_type item;        /* of an array */
    uint64_t count;                /* of an array; else 1 */
    const uint8_t *data;           /* raw little-endian value(s), borrowed; strings: see `str` */
    const struct pq_gguf_str *str; /* [count] for strings and arrays of strings */
};

struct pq_gguf_info {
    const char *name; /* NUL-terminated copy */
    int n_dims;
    uint64_t ne[4]; /* fastest first, 1 beyond n_dims */
    uint32_t type;  /* ggml type id, not yet judged */
    uint64_t at;    /* offset in the file, checked only against the file's size */
};

struct pq_gguf {
    uint32_t version, alignment;
    struct pq_gguf_kv *kv;
    size_t n_kv;
    struct pq_gguf_info *tensor;
    size_t n_tensors;
    uint64_t data_at; /* where the data section begins */
};

/* Parses the document at data. Copies of keys and names go to the arena; values are borrowed.
 * `file` names the file in messages. Duplicate keys or tensor names, unknown value types and counts
 * that cannot fit in what is left of the file are refused. */
int pq_gguf_parse(struct pq_gguf **out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                  const char *file, struct pq_err *e) PQ_MUST_CHECK;

const struct pq_gguf_kv *pq_gguf_find(const struct pq_gguf *g, const char *key);
/* Typed look-ups; false when absent or of another kind. Integers of any width are widened. */
bool pq_gguf_get_u64(const struct pq_gguf *g, const char *key, uint64_t *v);
bool pq_gguf_get_f64(const struct pq_gguf *g, const char *key, double *v);
bool pq_gguf_get_bool(const struct pq_gguf *g, const char *key, bool *v);
bool pq_gguf_get_str(const struct pq_gguf *g, const char *key, struct pq_gguf_str *v);

/* Writing. The caller counts pairs and tensors, writes the header, then the pairs, then the infos,
 * then pads with pq_gguf_pad. Offsets in infos are relative to the data section. */
void pq_gguf_put_header(struct pq_buf *b, uint64_t n_tensors, uint64_t n_kv);
void pq_gguf_put_u32(struct pq_buf *b, const char *key, uint32_t v);
void pq_gguf_put_u64(struct pq_buf *b, const char *key, uint64_t v);
void pq_gguf_put_u16(struct pq_buf *b, const char *key, uint16_t v);
void pq_gguf_put_i32(struct pq_buf *b, const char *key, int32_t v);
void pq_gguf_put_f32(struct pq_buf *b, const char *key, float v);
void pq_gguf_put_bool(struct pq_buf *b, const char *key, bool v);
void pq_gguf_put_str(struct pq_buf *b, const char *key, const char *s, size_t len);
void pq_gguf_put_array(struct pq_buf *b, const char *key, enum pq_gguf_type item, uint64_t count);
void pq_gguf_put_item_str(struct pq_buf *b, const char *s, size_t len);
void pq_gguf_put_info(struct pq_buf *b, const char *name, int n_dims, const uint64_t *ne,
                      uint32_t type, uint64_t offset);
void pq_gguf_pad(struct pq_buf *b, uint32_t alignment);

#endif
