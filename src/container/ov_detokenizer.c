/*
 * The detokenizer of an OpenVINO folder: ids to text. The vocabulary is kept as the bytes that each
 * token stands for, which is also what genai's structured output expects of it.
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "container/ov_tok.h"

#include <string.h>

/* A piece with spaces for every U+2581. */
static void put_spelled(struct pq_ov_strings *s, struct pq_ov_piece p, bool spm)
{
    const size_t width = strlen(PQ_OV_SPM_SPACE);
    pq_buf_le32(&s->begins, (uint32_t)s->chars.len);
    for (size_t i = 0; i < p.len;)
        if (spm && i + width <= p.len && !memcmp(p.text + i, PQ_OV_SPM_SPACE, width)) {
            pq_buf_u8(&s->chars, ' ');
            i += width;
        } else {
            pq_buf_u8(&s->chars, (uint8_t)p.text[i++]);
        }
    pq_buf_le32(&s->ends, (uint32_t)s->chars.len);
}

static int add_vocab(struct pq_ov *g, const struct pq_vocab *v, pq_ov_ref ref[3], struct pq_err *e)
{
    struct pq_ov_strings s = {0};
    struct pq_arena a = {0};
    struct pq_ov_piece *p = pq_ov_pieces(&a, v);
    for (size_t i = 0, n = p ? pq_ov_n_used(v) : 0; i < n; i++)
        put_spelled(&s, p[i], v->kind == PQ_VOCAB_SPM);
    pq_ov_strings_add(g, "vocab", &s, ref);
    pq_ov_strings_free(&s);
    pq_arena_free(&a);
    return p ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for OpenVINO's detokenizer");
}

/* Ids that skip_special_tokens drops: what tokenizer.json calls special. */
static pq_ov_ref add_skipped(struct pq_ov *g, const struct pq_vocab *v)
{
    struct pq_buf ids = {0};
    for (size_t i = 0; i < v->n_tokens; i++)
        if (v->token[i].special)
            pq_buf_le32(&ids, (uint32_t)i);
    if (!ids.len)
        pq_buf_le32(&ids, UINT32_MAX); /* -1, no id: genai slices the list */
    struct pq_ir_value list = {.type = PQ_IR_I32, .n_dims = 1, .dim = {(int64_t)(ids.len / 4)}};
    pq_ov_ref r = pq_ov_const(g, "skip_tokens", list, ids.data, ids.len);
    g->failed |= ids.failed;
    pq_buf_free(&ids);
    return r;
}

/* Strings in, strings out. */
static pq_ov_ref add_step(struct pq_ov *g, struct pq_ov_op op)
{
    op.version = "extension";
    op.out[0] = op.out[1] = (struct pq_ir_value)PQ_OV_INTS;
    op.out[2] = (struct pq_ir_value)PQ_OV_CHARS;
    return pq_ov_add(g, &op);
}

static pq_ov_ref add_decoder(struct pq_ov *g, pq_ov_ref ids, const pq_ov_ref vocab[3],
                             pq_ov_ref skipped)
{
    /* genai looks for this name to learn the vocabulary */
    return pq_ov_add(g, &(struct pq_ov_op){
                            .type = "VocabDecoder",
                            .version = "extension",
                            .name = "VocabDecoder",
                            .in = {ids, vocab[0], vocab[1], vocab[2], skipped},
                            .attr = {{"skip_tokens", ""}},
                            .out = {PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS, PQ_OV_CHARS}});
}

static pq_ov_ref add_fuse(struct pq_ov *g, pq_ov_ref tokens)
{
    return pq_ov_add(g, &(struct pq_ov_op){.type = "FuzeRagged",
                                           .version = "extension",
                                           .name = "fuse",
                                           .in = {tokens, pq_ov_out(tokens, 1),
                                                  pq_ov_out(tokens, 2), pq_ov_out(tokens, 3)},
                                           .out = {PQ_OV_INTS, PQ_OV_INTS}});
}

static pq_ov_ref add_input(struct pq_ov *g)
{
    struct pq_ir_value ids = PQ_OV_TABLE(PQ_IR_I64);
    ids.names = "input_ids";
    pq_ov_ref in =
        pq_ov_add(g, &(struct pq_ov_op){.type = "Parameter",
                                        .version = "opset1",
                                        .name = "input_ids",
                                        .attr = {{"shape", "?,?"}, {"element_type", "i64"}},
                                        .out = {ids}});
    return pq_ov_convert(g, "ids", in, PQ_IR_I32);
}

static void add_output(struct pq_ov *g, pq_ov_ref s)
{
    pq_ov_ref text = pq_ov_add(
        g,
        &(struct pq_ov_op){
            .type = "StringTensorPack",
            .version = "opset15",
            .name = "pack",
            .in = {s, pq_ov_out(s, 1), pq_ov_out(s, 2)},
            .out = {{.type = PQ_IR_STRING, .n_dims = 1, .dim = {-1}, .names = "string_output"}}});
    pq_ov_add(g, &(struct pq_ov_op){
                     .type = "Result", .version = "opset1", .name = "result", .in = {text}});
}

int pq_ov_detokenizer_graph(struct pq_ov *g, const struct pq_model *m, struct pq_err *e)
{
    const struct pq_vocab *v = &m->vocab;
    pq_ov_ref vocab[3];
    g->ir.name = "detokenizer";
    pq_ov_ref ids = add_input(g);
    int rc = add_vocab(g, v, vocab, e);
    if (rc < 0)
        return rc;
    pq_ov_ref tokens = add_decoder(g, ids, vocab, add_skipped(g, v));
    pq_ov_ref fused = add_fuse(g, tokens);
    pq_ov_ref s =
        add_step(g, (struct pq_ov_op){.type = "UTF8Validate",
                                      .name = "validate",
                                      .in = {fused, pq_ov_out(fused, 1), pq_ov_out(tokens, 4)},
                                      .attr = {{"replace_mode", "true"}}});
    if (v->kind == PQ_VOCAB_SPM && v->add_space_prefix)
        s = add_step(g, (struct pq_ov_op){.type = "RegexNormalization",
                                          .name = "strip_prefix",
                                          .in = {s, pq_ov_out(s, 1), pq_ov_out(s, 2),
                                                 pq_ov_text(g, "strip_prefix/pattern", "\\A "),
                                                 pq_ov_text(g, "strip_prefix/replacement", "")},
                                          .attr = {{"global_replace", "false"}}});
    add_output(g, s);
    pq_ov_put_vocab_info(g, v);
    return PQ_OK;
}
