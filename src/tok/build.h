/* A vocabulary while its files are read. Private to the room. SPDX-License-Identifier: MIT */
#ifndef PQ_TOK_BUILD_H
#define PQ_TOK_BUILD_H

#include "tok/scan.h"
#include "tok/strmap.h"
#include "tok/vocab.h"

struct pq_tok {
    struct pq_vocab *v; /* v->token has n_vocab entries from the start; text = NULL: a hole */
    struct pq_arena *a;
    struct pq_err *e;
    const char *dir;
    size_t n_vocab;
    struct pq_strmap ids; /* text to id, filled by pq_tok_index */
    json_t *tokenizer;    /* tokenizer.json without its long lists, NULL when absent; likewise: */
    json_t *config;       /* tokenizer_config.json */
    json_t *added;        /* added_tokens.json */
    json_t *special;      /* special_tokens_map.json */
    bool has_model;       /* tokenizer.model */
    char *text;           /* of tokenizer.json, for these parts; p = NULL where it lacks them: */
    struct pq_scan vocab, merges;
};

#define PQ_TOK_JSON "tokenizer.json"
#define PQ_TOK_MODEL "tokenizer.model"
#define PQ_TOK_CONFIG "tokenizer_config.json"
#define PQ_TOK_ADDED "added_tokens.json"
#define PQ_TOK_SPECIAL "special_tokens_map.json"

#define PQ_SPM_SPACE "\xe2\x96\x81" /* U+2581, SentencePiece's space */
enum { PQ_SPM_SPACE_LEN = 3 };

int pq_tok_no_memory(struct pq_err *e);

/* UTF-8 without zero bytes. */
bool pq_tok_is_text(const char *s, size_t n);

/* Sets a base token; refuses ids past the vocabulary and a different text under a used id. */
int pq_tok_put(struct pq_tok *t, uint64_t id, const char *text, size_t len, float score,
               enum pq_token_type type, const char *file);

/* Fills holes with [PADn] and builds t->ids; refuses two ids with one text. */
int pq_tok_index(struct pq_tok *t);
/* The id of a text, or -1. */
int64_t pq_tok_id(const struct pq_tok *t, const char *text);

/* spm.c: the pieces of tokenizer.model and its flags. With `alone`, its normalizer is judged. */
int pq_tok_read_model(struct pq_tok *t, bool alone);

/* tokmodel.c: tokenizer.json's text, its vocabulary and merges. */
int pq_tok_open_json(struct pq_tok *t); /* t->tokenizer, t->text and its parts */
int pq_tok_json_vocab(struct pq_tok *t);
int pq_tok_json_merges(struct pq_tok *t); /* after pq_tok_index: merges, or scores from them */
int pq_tok_read_vocab(struct pq_tok *t, struct pq_scan s, const char *file);
int pq_tok_room_for_merges(struct pq_tok *t, size_t n);
int pq_tok_merge(struct pq_tok *t, const char *left, size_t n_left, const char *right,
                 size_t n_right, const char *file); /* appends to v->merge and v->pair */

/* tokjson.c: tokenizer.json. */
int pq_tok_json_kind(struct pq_tok *t);     /* v->kind */
int pq_tok_json_pipeline(struct pq_tok *t); /* v->pre, v->split, v->add_space_prefix... */
int pq_tok_json_template(struct pq_tok *t, bool *bos, bool *eos); /* of the post-processor */

/* added.c: added tokens of the three files, later ones win. */
int pq_tok_added(struct pq_tok *t);

/* tokconfig.c: special ids, flags and chat template. */
int pq_tok_specials(struct pq_tok *t);
int pq_tok_chat_template(struct pq_tok *t);

/* pre.c: names of llama.cpp for split patterns. */
extern const char pq_pre_gpt2_pattern[];
const char *pq_pre_of_pattern(const char *pattern); /* NULL when unknown */
const char *pq_pre_pattern(const char *name);       /* NULL when unknown */

/* type of an added token, as llama.cpp's converter gives it */
enum pq_token_type pq_tok_added_type(const char *text, size_t len, bool special);

#endif
