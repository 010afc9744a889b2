/*
 * The cos and sin caches of rotary embeddings. Angles are rounded to single precision where the
 * Hugging Face implementation rounds them. LongRoPE: the short table, then the long one below it;
 * the graph takes the rows of one of them. SPDX-License-Identifier: MIT
 */
#include "base/sys.h"
#include "container/onnx.h"

#include <math.h>
#include <stdatomic.h>

#define CHUNK 1024
#define MAX_FREQUENCIES 1024

struct fill {
    const struct pq_onnx_rope *rope;
    float frequency[2][MAX_FREQUENCIES]; /* of the rows before and after the split */
    float scale;
    enum pq_dtype type;
    uint8_t *base;
    atomic_size_t next;
};

static void frequencies(float *out, const struct pq_hparams *hp, const float *factor)
{
    for (uint32_t i = 0; i < hp->rot_dims / 2; i++) {
        float power = (float)pow(hp->rope_theta, (double)(2 * i) / (double)hp->rot_dims);
        out[i] = 1.0f / (factor ? factor[i] * power : power);
    }
}

static void put(uint8_t *p, uint64_t i, enum pq_dtype type, float v)
{
    if (type == PQ_F32)
        pq_put_le32(p + 4 * i, pq_f32_bits(v));
    else
        pq_put_le16(p + 2 * i, type == PQ_F16 ? pq_f32_to_f16(v) : pq_f32_to_bf16(v));
}

static void fill_row(const struct fill *f, uint64_t row)
{
    const struct pq_onnx_rope *r = f->rope;
    const bool second = r->split && row >= r->split;
    const float position = (float)(second ? row - r->split : row);
    for (uint64_t i = 0; i < r->cols; i++) {
        float angle = position * f->frequency[second][i];
        put(f->base + r->cos_at, row * r->cols + i, f->type, (float)cos(angle) * f->scale);
        put(f->base + r->sin_at, row * r->cols + i, f->type, (float)sin(angle) * f->scale);
    }
}

static void worker(void *ctx, int id)
{
    struct fill *f = (struct fill *)ctx;
    (void)id;
    for (;;) {
        uint64_t from = atomic_fetch_add(&f->next, CHUNK);
        if (from >= f->rope->rows)
            return;
        for (uint64_t row = from; row < from + CHUNK && row < f->rope->rows; row++)
            fill_row(f, row);
    }
}

int pq_onnx_put_rope(struct pq_onnx_rope *r, struct pq_buf *b, const struct pq_hparams *hp,
                     const struct pq_request *q, enum pq_dtype floats, struct pq_err *e)
{
    const bool both = hp->rope == PQ_ROPE_LONGROPE && q->context == PQ_CONTEXT_AUTO;
    const bool is_long = q->context != PQ_CONTEXT_SHORT;
    if (hp->rot_dims / 2 > MAX_FREQUENCIES || hp->max_position > 1u << 24)
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "onnx: a rotary cache of %u positions by %u is not "
                       "sensible",
                       hp->max_position, hp->rot_dims / 2);
    *r = (struct pq_onnx_rope){.cols = hp->rot_dims / 2,
                               .split = both ? hp->original_max_position : 0};
    r->rows = (uint64_t)hp->max_position + r->split;
    r->bytes = r->rows * r->cols * pq_dtype_size(floats);
    r->sin_at = pq_round_up(r->bytes, pq_onnx_align(r->bytes));
    pq_buf_zero(b, (size_t)(r->sin_at + r->bytes));
    int rc = pq_buf_check(b, e);
    if (rc < 0)
        return rc;
    struct fill f = {.rope = r, .scale = (float)hp->attn_factor, .type = floats, .base = b->data};
    frequencies(f.frequency[0], hp, both || !is_long ? hp->short_factor : hp->long_factor);
    frequencies(f.frequency[1], hp, hp->long_factor);
    pq_parallel(pq_cpu_count(), worker, &f);
    return PQ_OK;
}
