/*
 * What the two tokenizer graphs of OpenVINO share: lists of strings, regular expressions. The
 * operations and what they read are those of openvinotoolkit/openvino_tokenizers (src/, release
 * 2026.4). Private to ov_tok*.c and ov_detokenizer.c. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONTAINER_OV_TOK_H
#define PQ_CONTAINER_OV_TOK_H

#include "container/ov.h"

#define PQ_OV_SPM_SPACE "\xe2\x96\x81" /* U+2581 */

/* What the operations pass on. */
#define PQ_OV_INTS                                    \
    {                                                 \
        .type = PQ_IR_I32, .n_dims = 1, .dim = { -1 } \
    }
#define PQ_OV_CHARS                                  \
    {                                                \
        .type = PQ_IR_U8, .n_dims = 1, .dim = { -1 } \
    }
#define PQ_OV_FLAGS                                    \
    {                                                  \
        .type = PQ_IR_BOOL, .n_dims = 1, .dim = { -1 } \
    }
#define PQ_OV_TABLE(t)                            \
    {                                             \
        .type = t, .n_dims = 2, .dim = { -1, -1 } \
    }

/* ---- ov_tok_vocab.c ---- */

/* Strings as the operations take them: three constants, where each begins, where it ends, and the
 * bytes of all. Zero-initialise to start. */
struct pq_ov_strings {
    struct pq_buf begins, ends, chars;
};
void pq_ov_strings_put(struct pq_ov_strings *s, const void *text, size_t len);
void pq_ov_strings_free(struct pq_ov_strings *s);
/* Adds the constants to g; their outputs go to ref[3]. */
void pq_ov_strings_add(struct pq_ov *g, const char *name, const struct pq_ov_strings *s,
                       pq_ov_ref ref[3]);

/* A token as the bytes that it stands for; one that stands for none has len 0. */
struct pq_ov_piece {
    const char *text;
    size_t len;
};
/* All tokens; NULL without memory. SPM pieces keep U+2581. */
struct pq_ov_piece *pq_ov_pieces(struct pq_arena *a, const struct pq_vocab *v);
/* Tokens up to the last that is not a filler. */
size_t pq_ov_n_used(const struct pq_vocab *v);

/* What BPETokenizer gets: the text of every id, and the halves of every merge. */
struct pq_ov_bpe {
    struct pq_ov_strings vocab, left, right;
};
int pq_ov_bpe_make(struct pq_ov_bpe *b, const struct pq_vocab *v, struct pq_err *e) PQ_MUST_CHECK;
void pq_ov_bpe_free(struct pq_ov_bpe *b);

/* ---- ov_tok_regex.c: regular expressions for PCRE2, which the operations use ---- */

/* Appends a pattern that matches an added token, its text in group 1, with the blanks that lstrip
 * and rstrip take. Returns the number of added tokens; without any, nothing is appended. */
size_t pq_ov_put_added(struct pq_buf *b, struct pq_arena *a, const struct pq_vocab *v);
/* Appends a split pattern of tokenizer.json, in which \s means what it does there. */
int pq_ov_put_split(struct pq_buf *b, const char *pattern, struct pq_err *e) PQ_MUST_CHECK;

/* ---- ov_tok_tail.c ---- */

/* Truncation, what the post-processor puts around a text, padding, results. ids has three outputs:
 * where the ids of each text begin, where they end, all ids. */
void pq_ov_add_tail(struct pq_ov *g, const struct pq_vocab *v, uint32_t max_length, pq_ov_ref ids);

/* ---- ov_tokenizer.c, ov_detokenizer.c ---- */

/* A constant of bytes: a pattern, a word. */
pq_ov_ref pq_ov_text(struct pq_ov *g, const char *name, const char *text);
/* What genai reads of either graph: special ids, the chat template, for which release it is. */
void pq_ov_put_vocab_info(struct pq_ov *g, const struct pq_vocab *v);
int64_t pq_ov_pad_id(const struct pq_vocab *v); /* as genai: eos when there is none; or -1 */

int pq_ov_detokenizer_graph(struct pq_ov *g, const struct pq_model *m,
                            struct pq_err *e) PQ_MUST_CHECK;

#endif
