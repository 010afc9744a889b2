/*
 * The tokenizer of an OpenVINO folder: text to ids. Steps, as in the `tokenizers` library: added
 * tokens are cut out, the rest is normalized and split into words, words become ids; then a fixed
 * tail that genai knows and makes adjustable (truncation, special tokens, padding).
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "container/ov_tok.h"

#include <inttypes.h>
#include <string.h>

/* The first release that has every operation in the form used here (SpecialTokensSplit with PCRE2).
 */
#define TOKENIZERS_VERSION "2025.4.0.0"
#define MIN_CACHE 20000u

/* ---- shared with the detokenizer ---- */

pq_ov_ref pq_ov_text(struct pq_ov *g, const char *name, const char *text)
{
    struct pq_ir_value v = {.type = PQ_IR_U8, .n_dims = 1};
    v.dim[0] = (int64_t)strlen(text);
    return pq_ov_const(g, name, v, text, strlen(text));
}

int64_t pq_ov_pad_id(const struct pq_vocab *v)
{
    return v->pad >= 0 ? v->pad : v->eos;
}

static void put_id(struct pq_ov *g, const char *key, int64_t id)
{
    if (id >= 0)
        pq_ov_info(g, key, pq_ov_name(g, "%" PRId64, id));
}

void pq_ov_put_vocab_info(struct pq_ov *g, const struct pq_vocab *v)
{
    put_id(g, "bos_token_id", v->bos);
    if (v->chat_template)
        pq_ov_info(g, "chat_template", v->chat_template);
    put_id(g, "eos_token_id", v->eos);
    pq_ov_info(g, "openvino_tokenizers_version", TOKENIZERS_VERSION); /* genai: flags work */
    put_id(g, "pad_token_id", pq_ov_pad_id(v));
}

/* ---- text in pieces ---- */

/* Strings on their way: lists of pieces per text, pieces, bytes, and which pieces are done. */
struct pieces {
    pq_ov_ref first, last, begin, end, chars, skip; /* skip.layer = 0: none */
};

static struct pieces add_input(struct pq_ov *g)
{
    const struct pq_ir_value text = {
        .type = PQ_IR_STRING, .n_dims = 1, .dim = {-1}, .names = "text"};
    pq_ov_ref in =
        pq_ov_add(g, &(struct pq_ov_op){.type = "Parameter",
                                        .version = "opset1",
                                        .name = "text",
                                        .attr = {{"shape", "?"}, {"element_type", "string"}},
                                        .out = {text}});
    pq_ov_ref r = pq_ov_add(g, &(struct pq_ov_op){.type = "StringTensorUnpack",
                                                  .version = "opset15",
                                                  .name = "unpack",
                                                  .in = {in},
                                                  .out = {PQ_OV_INTS, PQ_OV_INTS, PQ_OV_CHARS}});
    return (struct pieces){.begin = r, .end = pq_ov_out(r, 1), .chars = pq_ov_out(r, 2)};
}

static pq_ov_ref add_range(struct pq_ov *g, const char *name, pq_ov_ref start, pq_ov_ref stop,
                           pq_ov_ref one)
{
    return pq_ov_add(g, &(struct pq_ov_op){.type = "Range",
                                           .version = "opset4",
                                           .name = name,
                                           .in = {start, stop, one},
                                           .attr = {{"output_type", "i32"}},
                                           .out = {PQ_OV_INTS}});
}

/* Each text begins as one piece: pieces [0, 1, ...) to [1, 2, ...). */
static void add_rows(struct pq_ov *g, struct pieces *p)
{
    pq_ov_ref zero = pq_ov_i64(g, "zero", 0), one = pq_ov_i64(g, "one", 1);
    pq_ov_ref n = pq_ov_gather(g, "n_texts", pq_ov_shape_of(g, "shape", p->begin), zero);
    p->first = add_range(g, "rows_begin", zero, n, one);
    p->last = add_range(g, "rows_end", one, pq_ov_binary(g, "Add", "after_last", n, one), one);
}

/* An operation on the pieces that makes new ones: SpecialTokensSplit, RegexSplit. */
static void add_split(struct pq_ov *g, struct pieces *p, struct pq_ov_op op, pq_ov_ref pattern)
{
    pq_ov_ref in[] = {p->first, p->last, p->begin, p->end, p->chars, p->skip, pattern};
    struct pq_ir_value out[] = {PQ_OV_INTS, PQ_OV_INTS,  PQ_OV_INTS,
                                PQ_OV_INTS, PQ_OV_CHARS, PQ_OV_FLAGS};
    op.version = "extension";
    size_t n = 0;
    for (size_t i = 0; i < PQ_LEN(in); i++)
        if (in[i].layer)
            op.in[n++] = in[i];
    memcpy(op.out, out, sizeof out);
    pq_ov_ref r = pq_ov_add(g, &op);
    *p = (struct pieces){
        r, pq_ov_out(r, 1), pq_ov_out(r, 2), pq_ov_out(r, 3), pq_ov_out(r, 4), pq_ov_out(r, 5)};
}

/* A replacement inside the pieces that are not done. */
static void add_replace(struct pq_ov *g, struct pieces *p, const char *name, const char *pattern,
                        const char *with, bool everywhere)
{
    struct pq_ov_op op = {.type = "RegexNormalization",
                          .version = "extension",
                          .name = name,
                          .in = {p->begin, p->end, p->chars},
                          .attr = {{"global_replace", everywhere ? "true" : "false"}},
                          .out = {PQ_OV_INTS, PQ_OV_INTS, PQ_OV_CHARS}};
    size_t n = 3;
    if (p->skip.layer) {
        op.in[n++] = p->skip;
        op.out[3] = (struct pq_ir_value)PQ_OV_FLAGS;
    }
    op.in[n++] = pq_ov_text(g, pq_ov_name(g, "%s/pattern", name), pattern);
    op.in[n] = pq_ov_text(g, pq_ov_name(g, "%s/replacement", name), with);
    pq_ov_ref r = pq_ov_add(g, &op);
    p->begin = r;
    p->end = pq_ov_out(r, 1);
    p->chars = pq_ov_out(r, 2);
    p->skip = p->skip.layer ? pq_ov_out(r, 3) : p->skip;
}

/* ---- the way of a text ---- */

static const char *text_of(struct pq_ov *g, struct pq_buf *b)
{
    pq_buf_u8(b, 0);
    const char *s = b->failed ? NULL : pq_arena_strdup(g->a, (const char *)b->data);
    g->failed |= !s;
    pq_buf_free(b);
    return s ? s : "";
}

/* Without any added token, a pattern that matches nowhere keeps the form. */
static void cut_added(struct pq_ov *g, struct pieces *p, const struct pq_vocab *v)
{
    struct pq_buf b = {0};
    if (!pq_ov_put_added(&b, g->a, v))
        pq_buf_puts(&b, "(?!)");
    add_split(g, p, (struct pq_ov_op){.type = "SpecialTokensSplit", .name = "added"},
              pq_ov_text(g, "added/pattern", text_of(g, &b)));
}

/* Metaspace with prepend_scheme "first": U+2581 in front of a text that does not begin with a
 * blank or an added token. Before anything is cut out, since pieces do not know their place. */
static void prefix_text(struct pq_ov *g, struct pieces *p, const struct pq_vocab *v)
{
    struct pq_buf b = {0}, added = {0};
    pq_buf_puts(&b, "\\A(?!\\z|[ " PQ_OV_SPM_SPACE "]");
    if (pq_ov_put_added(&added, g->a, v))
        pq_buf_printf(&b, "|%s", text_of(g, &added));
    pq_buf_puts(&b, ")");
    add_replace(g, p, "prefix", text_of(g, &b), PQ_OV_SPM_SPACE, false);
}

/* U+2581 in front of each piece, or of each that does not begin with one; and for each space. */
static void normalize_spm(struct pq_ov *g, struct pieces *p, const struct pq_vocab *v)
{
    const char *at = v->prefix_unless_space ? "\\A(?!\\z|[ " PQ_OV_SPM_SPACE "])" : "\\A(?!\\z)";
    if (v->add_space_prefix && !v->prefix_first)
        add_replace(g, p, "prefix", at, PQ_OV_SPM_SPACE, false);
    add_replace(g, p, "spaces", " ", PQ_OV_SPM_SPACE, true);
}

static int split_words(struct pq_ov *g, struct pieces *p, const struct pq_vocab *v,
                       struct pq_err *e)
{
    struct pq_buf b = {0};
    if (!v->split)
        return pq_fail(
            e, PQ_EUNSUPPORTED,
            "the split pattern of tokenizer.ggml.pre \"%s\" is not known, and OpenVINO's "
            "tokenizer needs it",
            v->pre);
    int rc = pq_ov_put_split(&b, v->split, e);
    if (rc < 0)
        pq_buf_free(&b);
    else
        add_split(
            g, p,
            (struct pq_ov_op){
                .type = "RegexSplit",
                .name = "words",
                .attr = {{"behaviour", "isolate"}, {"invert", "false"}, {"max_splits", "-1"}}},
            pq_ov_text(g, "words/pattern", text_of(g, &b)));
    return rc;
}

static int add_pieces(struct pq_ov *g, struct pieces *p, const struct pq_vocab *v, struct pq_err *e)
{
    *p = add_input(g);
    if (v->kind == PQ_VOCAB_SPM && v->add_space_prefix && v->prefix_first)
        prefix_text(g, p, v);
    add_rows(g, p);
    cut_added(g, p, v);
    if (v->kind == PQ_VOCAB_BPE)
        return split_words(g, p, v, e);
    normalize_spm(g, p, v);
    return PQ_OK;
}

/* Three outputs: where each text's ids begin, where they end, all ids. */
static int add_bpe(struct pq_ov *g, const struct pieces *p, const struct pq_vocab *v,
                   pq_ov_ref *out, struct pq_err *e)
{
    struct pq_ov_bpe b = {0};
    struct pq_ov_op op = {.type = "BPETokenizer",
                          .version = "extension",
                          .name = "bpe",
                          .in = {p->first, p->last, p->begin, p->end, p->chars},
                          .out = {PQ_OV_INTS, PQ_OV_INTS, PQ_OV_INTS}};
    size_t cache = v->n_tokens / 5 > MIN_CACHE ? v->n_tokens / 5 : MIN_CACHE;
    const struct pq_ir_attr attr[] = {{"unk_token", ""},
                                      {"fuse_unk", "false"},
                                      {"suffix_indicator", ""},
                                      {"end_suffix", ""},
                                      {"byte_fallback", "false"}, /* bytes are in the vocabulary */
                                      {"cache_capacity", pq_ov_name(g, "%zu", cache)}};
    memcpy(op.attr, attr, sizeof attr);
    int rc = pq_ov_bpe_make(&b, v, e);
    pq_ov_strings_add(g, "vocab", &b.vocab, op.in + 5);
    pq_ov_strings_add(g, "merges_left", &b.left, op.in + 8);
    pq_ov_strings_add(g, "merges_right", &b.right, op.in + 11);
    pq_ov_bpe_free(&b);
    *out = pq_ov_add(g, &op);
    return rc;
}

static int tokenizer_graph(struct pq_ov *g, const struct pq_model *m, struct pq_err *e)
{
    const struct pq_vocab *v = &m->vocab;
    struct pieces p;
    pq_ov_ref ids;
    int rc;
    g->ir.name = "tokenizer";
    PQ_TRY(add_pieces(g, &p, v, e));
    PQ_TRY(add_bpe(g, &p, v, &ids, e));
    pq_ov_add_tail(g, v, m->net.hp.max_position, ids);
    pq_ov_put_vocab_info(g, v);
out:
    return rc;
}

/* What these operations cannot do, where a tokenizer asks for it. */
static void add_notes(struct pq_plan *p, const struct pq_vocab *v)
{
    bool normalized = false, whole = false;
    for (size_t i = 0; i < v->n_tokens; i++) {
        normalized |= v->token[i].added && v->token[i].normalized;
        whole |= v->token[i].added && v->token[i].single_word;
    }
    if (v->ignore_merges)
        pq_container_note(p, "OpenVINO's tokenizer merges every word; tokenizer.json takes words "
                             "that are tokens as they are (ignore_merges)");
    if (normalized && v->kind == PQ_VOCAB_SPM && !v->prefix_unless_space)
        pq_container_note(p, "OpenVINO's tokenizer looks for added tokens in the text as it is; "
                             "tokenizer.json wants some of them looked for in normalized text");
    if (whole)
        pq_container_note(p, "OpenVINO's tokenizer finds added tokens inside words too; "
                             "tokenizer.json has some that are only whole words (single_word)");
}

/* ---- files ---- */

typedef int graph_fn(struct pq_ov *g, const struct pq_model *m, struct pq_err *e);

static int add_files(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                     const char *const name[2], graph_fn *build, struct pq_err *e)
{
    struct pq_ov g = {.a = &p->arena};
    struct pq_buf xml = {0};
    int rc;
    PQ_TRY(build(&g, m, e));
    if (g.failed)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", name[0]));
    PQ_TRY(pq_ir_put(&xml, &g.ir, e));
    PQ_TRY(pq_container_add_file(p, capacity, name[0], xml.data, xml.len, e));
    PQ_TRY(pq_container_add_file(p, capacity, name[1], g.consts.data, g.consts.len, e));
out:
    pq_buf_free(&xml);
    pq_ov_free(&g);
    return rc;
}

int pq_ov_add_tokenizer(struct pq_plan *p, size_t capacity, const struct pq_model *m,
                        struct pq_err *e)
{
    static const char *const in[] = {PQ_OV_TOKENIZER ".xml", PQ_OV_TOKENIZER ".bin"};
    static const char *const out[] = {PQ_OV_DETOKENIZER ".xml", PQ_OV_DETOKENIZER ".bin"};
    add_notes(p, &m->vocab);
    int rc = add_files(p, capacity, m, in, tokenizer_graph, e);
    return rc < 0 ? rc : add_files(p, capacity, m, out, pq_ov_detokenizer_graph, e);
}
