/*
 * The tail of OpenVINO's tokenizer graph: ids of each text to two tables. Its form is that of
 * openvino_tokenizers' own converter, since genai's passes look for it to make truncation, special
 * tokens and padding adjustable. SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "container/ov_tok.h"

/* Truncate's word for no limit: a larger one turns negative on its way (genai says so too). */
#define NO_LIMIT (INT32_MAX - 64)

/* Off unless someone sets the state "truncation", as genai does. */
static pq_ov_ref add_truncate(struct pq_ov *g, pq_ov_ref ids, int32_t limit)
{
    const struct pq_ir_value flag = {.type = PQ_IR_BOOL};
    static const uint8_t off = 0;
    pq_ov_ref state =
        pq_ov_add(g, &(struct pq_ov_op){.type = "ReadValue",
                                        .version = "opset6",
                                        .name = "truncation",
                                        .in = {pq_ov_const(g, "truncation/default", flag, &off, 1)},
                                        .attr = {{"variable_id", "truncation"},
                                                 {"variable_type", "boolean"},
                                                 {"variable_shape", ""}},
                                        .out = {flag}});
    pq_ov_add(g, &(struct pq_ov_op){.type = "Assign",
                                    .version = "opset6",
                                    .name = "truncation/keep",
                                    .in = {state},
                                    .attr = {{"variable_id", "truncation"}},
                                    .out = {flag}});
    pq_ov_ref n = pq_ov_add(g, &(struct pq_ov_op){.type = "Select",
                                                  .version = "opset1",
                                                  .name = "truncation/limit",
                                                  .in = {state, pq_ov_i32(g, "max_length", limit),
                                                         pq_ov_i32(g, "no_limit", NO_LIMIT)},
                                                  .attr = {{"auto_broadcast", "numpy"}},
                                                  .out = {{.type = PQ_IR_I32}}});
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Truncate",
                                           .version = "extension",
                                           .name = "truncate",
                                           .in = {ids, pq_ov_out(ids, 1), pq_ov_out(ids, 2), n,
                                                  pq_ov_text(g, "truncate/side", "right"),
                                                  pq_ov_text(g, "truncate/mode", "longest_first")},
                                           .attr = {{"m_num_inputs", "1"}},
                                           .out = {PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS}});
}

static size_t put_special(struct pq_ov *g, struct pq_ov_op *op, size_t n, const char *name,
                          int64_t id)
{
    uint8_t bytes[4];
    pq_put_le32(bytes, (uint32_t)id);
    op->in[n++] = pq_ov_i32(g, pq_ov_name(g, "%s/begin", name), 0);
    op->in[n++] = pq_ov_i32(g, pq_ov_name(g, "%s/end", name), 1);
    op->in[n++] =
        pq_ov_const(g, name, (struct pq_ir_value){.type = PQ_IR_I32, .n_dims = 1, .dim = {1}},
                    bytes, sizeof bytes);
    return n;
}

/* What the post-processor puts around a text. */
static pq_ov_ref add_specials(struct pq_ov *g, const struct pq_vocab *v, pq_ov_ref ids)
{
    struct pq_ov_op op = {
        .type = "CombineSegments",
        .version = "extension",
        .name = "combine",
        .out = {PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS}};
    static const uint8_t zeros[3 * 4];
    size_t n = 0;
    if (v->template_bos && v->bos >= 0)
        n = put_special(g, &op, n, "bos", v->bos);
    for (uint32_t i = 0; i < 3; i++)
        op.in[n++] = pq_ov_out(ids, i);
    if (v->template_eos && v->eos >= 0)
        n = put_special(g, &op, n, "eos", v->eos);
    struct pq_ir_value list = {.type = PQ_IR_I32, .n_dims = 1, .dim = {(int64_t)(n / 3)}};
    op.in[n] = pq_ov_const(g, "segments", list, zeros, n / 3 * 4);
    return pq_ov_add(g, &op);
}

/* On the left, as generation needs it. */
static pq_ov_ref add_padding(struct pq_ov *g, pq_ov_ref r, int64_t pad)
{
    pq_ov_ref length = pq_ov_binary(g, "Subtract", "length", pq_ov_out(r, 1), r);
    pq_ov_ref longest = pq_ov_add(g, &(struct pq_ov_op){.type = "ReduceMax",
                                                        .version = "opset1",
                                                        .name = "longest",
                                                        .in = {length, pq_ov_i32(g, "axis", 0)},
                                                        .attr = {{"keep_dims", "false"}},
                                                        .out = {{.type = PQ_IR_I32}}});
    return pq_ov_add(
        g, &(struct pq_ov_op){.type = "RaggedToDense",
                              .version = "extension",
                              .name = "pad",
                              .in = {r, pq_ov_out(r, 1), pq_ov_out(r, 2), longest,
                                     pq_ov_i32(g, "pad_id", (int32_t)(pad >= 0 ? pad : 0))},
                              .attr = {{"pad_right", "false"}, {"m_pad_max_length", "false"}},
                              .out = {PQ_OV_TABLE(PQ_IR_I32), PQ_OV_TABLE(PQ_IR_BOOL)}});
}

static void add_result(struct pq_ov *g, pq_ov_ref r, const char *name)
{
    struct pq_ir_value wide = PQ_OV_TABLE(PQ_IR_I64);
    wide.names = name;
    pq_ov_ref out = pq_ov_add(g, &(struct pq_ov_op){.type = "Convert",
                                                    .version = "opset1",
                                                    .name = name,
                                                    .in = {r},
                                                    .attr = {{"destination_type", "i64"}},
                                                    .out = {wide}});
    pq_ov_add(g, &(struct pq_ov_op){.type = "Result",
                                    .version = "opset1",
                                    .name = pq_ov_name(g, "%s/result", name),
                                    .in = {out}});
}

void pq_ov_add_tail(struct pq_ov *g, const struct pq_vocab *v, uint32_t max_length, pq_ov_ref ids)
{
    const int32_t added = (v->template_bos && v->bos >= 0) + (v->template_eos && v->eos >= 0);
    const int32_t limit = (int32_t)(max_length < NO_LIMIT ? max_length : NO_LIMIT);
    pq_ov_ref cut = add_truncate(g, ids, limit - added);
    pq_ov_ref padded = add_padding(g, add_specials(g, v, cut), pq_ov_pad_id(v));
    add_result(g, padded, "input_ids");
    add_result(g, pq_ov_out(padded, 1), "attention_mask");
}
