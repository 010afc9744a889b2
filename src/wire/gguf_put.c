/* Writing GGUF headers into a buffer. SPDX-License-Identifier: MIT */
#include "wire/gguf_wire.h"

#include "base/num.h"

enum { VERSION = 3 };

void pq_gguf_put_header(struct pq_buf *b, uint64_t n_tensors, uint64_t n_kv)
{
    pq_buf_puts(b, "GGUF");
    pq_buf_le32(b, VERSION);
    pq_buf_le64(b, n_tensors);
    pq_buf_le64(b, n_kv);
}

void pq_gguf_put_item_str(struct pq_buf *b, const char *s, size_t len)
{
    pq_buf_le64(b, len);
    pq_buf_put(b, s, len);
}

static void put_key(struct pq_buf *b, const char *key, enum pq_gguf_type type)
{
    pq_gguf_put_item_str(b, key, strlen(key));
    pq_buf_le32(b, type);
}

void pq_gguf_put_u32(struct pq_buf *b, const char *key, uint32_t v)
{
    put_key(b, key, PQ_GGUF_U32);
    pq_buf_le32(b, v);
}

void pq_gguf_put_u64(struct pq_buf *b, const char *key, uint64_t v)
{
    put_key(b, key, PQ_GGUF_U64);
    pq_buf_le64(b, v);
}

void pq_gguf_put_u16(struct pq_buf *b, const char *key, uint16_t v)
{
    put_key(b, key, PQ_GGUF_U16);
    pq_buf_le16(b, v);
}

void pq_gguf_put_i32(struct pq_buf *b, const char *key, int32_t v)
{
    put_key(b, key, PQ_GGUF_I32);
    pq_buf_le32(b, (uint32_t)v);
}

void pq_gguf_put_f32(struct pq_buf *b, const char *key, float v)
{
    put_key(b, key, PQ_GGUF_F32);
    pq_buf_le32(b, pq_f32_bits(v));
}

void pq_gguf_put_bool(struct pq_buf *b, const char *key, bool v)
{
    put_key(b, key, PQ_GGUF_BOOL);
    pq_buf_u8(b, v);
}

void pq_gguf_put_str(struct pq_buf *b, const char *key, const char *s, size_t len)
{
    put_key(b, key, PQ_GGUF_STRING);
    pq_gguf_put_item_str(b, s, len);
}

void pq_gguf_put_array(struct pq_buf *b, const char *key, enum pq_gguf_type item, uint64_t count)
{
    put_key(b, key, PQ_GGUF_ARRAY);
    pq_buf_le32(b, item);
    pq_buf_le64(b, count);
}

void pq_gguf_put_info(struct pq_buf *b, const char *name, int n_dims, const uint64_t *ne,
                      uint32_t type, uint64_t offset)
{
    pq_gguf_put_item_str(b, name, strlen(name));
    pq_buf_le32(b, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++)
        pq_buf_le64(b, ne[i]);
    pq_buf_le32(b, type);
    pq_buf_le64(b, offset);
}

void pq_gguf_pad(struct pq_buf *b, uint32_t alignment)
{
    pq_buf_zero(b, (size_t)(pq_round_up(b->len, alignment) - b->len));
}
