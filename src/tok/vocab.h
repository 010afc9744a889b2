/*
 * A tokenizer as data: tokens, scores, merges, special ids, chat template. Read from the files of a
 * checkpoint or from a GGUF's metadata, written into either. SPDX-License-Identifier: MIT
 */
#ifndef PQ_TOK_VOCAB_H
#define PQ_TOK_VOCAB_H

#include "wire/gguf_wire.h"
#include "wire/json.h"

enum pq_vocab_kind {
    PQ_VOCAB_SPM, /* SentencePiece BPE with scores and byte fallback (Phi-3) */
    PQ_VOCAB_BPE  /* byte-level BPE with merges (Phi-1/1.5/2, Phi-4, Phi-4-mini) */
};

/* Numbers as in SentencePiece and GGUF. */
enum pq_token_type {
    PQ_TOKEN_NORMAL = 1,
    PQ_TOKEN_UNKNOWN = 2,
    PQ_TOKEN_CONTROL = 3,
    PQ_TOKEN_USER_DEFINED = 4,
    PQ_TOKEN_UNUSED = 5,
    PQ_TOKEN_BYTE = 6
};

struct pq_token {
    const char *text; /* NUL-terminated, len bytes; SPM pieces with U+2581, BPE in GPT-2's byte
                         alphabet, added tokens as plain text */
    uint32_t len;
    float score; /* SPM; 0 for BPE */
    uint8_t type;
    bool added, special, lstrip, rstrip, normalized, single_word;
};

/* "left right" becomes "whole". */
struct pq_merge {
    uint32_t left, right, whole; /* ids */
};

struct pq_vocab {
    enum pq_vocab_kind kind;
    const char *pre;        /* GGUF's tokenizer.ggml.pre: "default", "phi-2", "dbrx", "gpt-4o" */
    const char *split;      /* BPE: the regular expression whose matches are the words, as
                               tokenizer.json has it; NULL for SPM and for a GGUF's unknown `pre` */
    struct pq_token *token; /* [n_tokens], padded to the model's vocabulary with UNUSED [PADn] */
    size_t n_tokens;
    const char **merge; /* [n_merges] "left right" in GPT-2's byte alphabet; BPE only */
    size_t n_merges;
    struct pq_merge *pair; /* [n_pairs] the same as ids, first things first; SPM: from
                              tokenizer.json only, else the scores say it */
    size_t n_pairs;
    bool ignore_merges;         /* BPE: a word that is a token is not merged, it is that token */
    int64_t bos, eos, unk, pad; /* -1 = none */
    bool add_bos, add_eos;      /* as tokenizer_config.json has it, and GGUF */
    bool template_bos, template_eos; /* as a tokenizer.json has it: what the `tokenizers` library
                                        does; else the same */
    /* SPM: U+2581 before every piece of text between added tokens (the normalizer Prepend) ... */
    bool add_space_prefix;
    bool prefix_unless_space;  /* ... that does not begin with a space or U+2581 (Metaspace) ... */
    bool prefix_first;         /* ... and only at the start of the text (its scheme "first") */
    const char *chat_template; /* Jinja source or NULL */
};

/* <0x00> to <0xFF>? Returns the byte or -1. */
int pq_tok_byte_piece(const char *text, size_t len);

/* From the files in `dir`: tokenizer.model, tokenizer.json, tokenizer_config.json,
 * added_tokens.json, special_tokens_map.json, chat_template.jinja, vocab.json + merges.txt.
 * n_vocab is the embedding's row count; more tokens than that are refused. PQ_EIO with words when
 * there is no tokenizer at all. */
int pq_vocab_load(struct pq_vocab *v, struct pq_arena *a, const char *dir, size_t n_vocab,
                  struct pq_err *e) PQ_MUST_CHECK;

/* From tokenizer.ggml.* of a GGUF. */
int pq_vocab_from_gguf(struct pq_vocab *v, struct pq_arena *a, const struct pq_gguf *g,
                       const char *file, struct pq_err *e) PQ_MUST_CHECK;

/* tokenizer.json and tokenizer_config.json for a vocabulary that came without them (GGUF source):
 * the same ids for the same text in the `tokenizers` library. The caller json_decref()s. */
int pq_vocab_tokenizer_json(const struct pq_vocab *v, json_t **out, struct pq_err *e) PQ_MUST_CHECK;
int pq_vocab_tokenizer_config(const struct pq_vocab *v, json_t **out,
                              struct pq_err *e) PQ_MUST_CHECK;

#endif
