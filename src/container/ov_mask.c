/*
 * The attention mask of OpenVINO graphs: causal, within the window, and not what the caller masks.
 * PagedAttention replaces it by its own; a window survives that only in the chain of operators that
 * the conversion knows (gpt_oss_sliding_window_pattern in transformations/sdpa_to_paged_attention).
 * SPDX-License-Identifier: MIT
 */
#include "container/ov.h"

/* What masked scores get: the least half-precision number, so that plugins which compute in half
 * precision see no infinity. */
#define MASKED (-65504.0f)

static pq_ov_ref range(struct pq_ov *g, const char *name, pq_ov_ref from, pq_ov_ref to)
{
    pq_ov_ref step = pq_ov_i32(g, pq_ov_name(g, "%s/step", name), 1);
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Range",
                                           .version = "opset4",
                                           .name = name,
                                           .in = {from, to, step},
                                           .attr = {{"output_type", "i64"}},
                                           .out = {PQ_OV_VALUE(PQ_IR_I64, -1)}});
}

/* x with dimensions of one element at these axes, one after the other. */
static pq_ov_ref spread(struct pq_ov *g, const char *name, pq_ov_ref x, const int axis[3])
{
    for (int i = 0; i < 3; i++)
        x = pq_ov_unsqueeze(g, pq_ov_name(g, "%s/%d", name, i), x, axis[i]);
    return x;
}

/* One dimension of x as a scalar. Of the cache it is the number of tokens before this step, in the
 * form that the conversion to PagedAttention replaces. */
static pq_ov_ref dimension(struct pq_ov *g, const char *name, pq_ov_ref x, int axis)
{
    pq_ov_ref shape = pq_ov_shape_of(g, pq_ov_name(g, "%s/shape", name), x);
    pq_ov_ref at = pq_ov_i64(g, pq_ov_name(g, "%s/axis", name), axis);
    return pq_ov_gather(g, name, shape, at);
}

static pq_ov_ref both(struct pq_ov *g, const char *name, pq_ov_ref x, pq_ov_ref y)
{
    return pq_ov_binary(g, "BitwiseAnd", name, x, y);
}

/* Keys after query - window. */
static pq_ov_ref in_window(struct pq_ov_build *b, pq_ov_ref query, pq_ov_ref key)
{
    struct pq_ov *g = &b->g;
    const int64_t window = -(int64_t)b->m->net.hp.sliding_window;
    const struct pq_ir_value one = {.type = PQ_IR_I64, .n_dims = 4, .dim = {1, 1, 1, 1}};
    uint8_t bytes[8];
    pq_put_le32(bytes, (uint32_t)window);
    pq_put_le32(bytes + 4, (uint32_t)((uint64_t)window >> 32));
    pq_ov_ref first = pq_ov_const(g, "model.mask/window", one, bytes, sizeof bytes);
    first = pq_ov_binary(g, "Add", "model.mask/before_window", query, first);
    return pq_ov_binary(g, "Greater", "model.mask/in_window", key, first);
}

/* May a query see a key? given: what the caller leaves visible. */
static pq_ov_ref visible(struct pq_ov_build *b, pq_ov_ref query, pq_ov_ref key, pq_ov_ref given)
{
    struct pq_ov *g = &b->g;
    const struct pq_hparams *hp = &b->m->net.hp;
    const uint8_t yes = 1;
    pq_ov_ref seen = pq_ov_binary(g, "LessEqual", "model.mask/causal", key, query);
    if (hp->sliding_window && hp->sliding_window < hp->max_position) {
        const struct pq_ir_value flag = {.type = PQ_IR_BOOL};
        pq_ov_ref all = pq_ov_const(g, "model.mask/all", flag, &yes, 1);
        pq_ov_ref near = in_window(b, query, key);
        near = both(g, "model.mask/near", all, near);
        seen = both(g, "model.mask/near_causal", near, seen);
        seen = both(g, "model.mask/model", all, seen);
    }
    return both(g, "model.mask/seen", seen, given);
}

static pq_ov_ref to_scores(struct pq_ov *g, pq_ov_ref seen)
{
    pq_ov_ref zero = pq_ov_f32(g, "model.mask/zero", 0);
    pq_ov_ref masked = pq_ov_f32(g, "model.mask/masked", MASKED);
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Select",
                                           .version = "opset1",
                                           .name = "model.mask/Select",
                                           .in = {seen, zero, masked},
                                           .attr = {{"auto_broadcast", "numpy"}},
                                           .out = {PQ_OV_F32(-1, 1, -1, -1)}});
}

void pq_ov_mask(struct pq_ov_build *b, struct pq_ov_shared *s, pq_ov_ref cache)
{
    struct pq_ov *g = &b->g;
    const int64_t one = 1;
    pq_ov_ref before = dimension(g, "model.mask/past", cache, 2);
    pq_ov_ref now = dimension(g, "model.mask/length", s->ids, 1);
    pq_ov_ref total = pq_ov_binary(g, "Add", "model.mask/total", before, now);
    pq_ov_ref key = pq_ov_i32(g, "model.mask/first", 0);
    key = range(g, "model.mask/keys", key, total);
    pq_ov_ref query = range(g, "model.mask/queries", before, total);
    key = spread(g, "model.mask/keys/spread", key, (int[]){0, 1, 2});
    query = spread(g, "model.mask/queries/spread", query, (int[]){0, 1, 3});
    pq_ov_ref given = pq_ov_convert(g, "model.mask/given", s->attention_mask, PQ_IR_BOOL);
    given = pq_ov_unsqueeze(g, "model.mask/given/0", given, 1);
    given = pq_ov_unsqueeze(g, "model.mask/given/1", given, 2);
    pq_ov_ref seen = visible(b, query, key, given), shape[4] = {s->batch};
    shape[1] = pq_ov_i64s(g, "model.mask/one", 1, &one);
    shape[2] = pq_ov_reshape(g, "model.mask/length/vector", now, 1, &one, false);
    shape[3] = pq_ov_reshape(g, "model.mask/total/vector", total, 1, &one, false);
    seen = pq_ov_broadcast(g, "model.mask/Broadcast", seen, 4, shape,
                           (struct pq_ir_value)PQ_OV_VALUE(PQ_IR_BOOL, -1, 1, -1, -1));
    s->mask = to_scores(g, seen);
    s->kv_length = shape[3];
}
