/*
 * tokenizer.model: SentencePiece's ModelProto. Field numbers: sentencepiece_model.proto of
 * google/sentencepiece. SPDX-License-Identifier: MIT
 *
 *   1 pieces { 1 piece, 2 score, 3 type }
 *   2 trainer_spec { 3 model_type, 40 unk_id, 41 bos_id, 42 eos_id, 43 pad_id }
 *   3 normalizer_spec { 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces,
 *                       5 escape_whitespaces }
 */
#include "tok/build.h"
#include "base/fs.h"
#include "wire/proto.h"

#include <string.h>

enum { MAX_MODEL = 256 << 20, UNIGRAM = 1, BPE = 2 };

/* With the defaults of the .proto file. */
struct flags {
    int64_t model_type, unk, bos, eos, pad;
    bool charsmap, add_dummy_prefix, remove_extra_spaces, escape_spaces;
};

int pq_tok_byte_piece(const char *text, size_t len)
{
    static const char hex[] = "0123456789ABCDEF";
    if (len != 6 || memcmp(text, "<0x", 3) || text[5] != '>' || !text[3] || !text[4])
        return -1;
    const char *hi = strchr(hex, text[3]), *lo = strchr(hex, text[4]);
    return hi && lo ? (int)(16 * (hi - hex) + (lo - hex)) : -1;
}

static int read_piece(struct pq_tok *t, struct pq_proto r, size_t id)
{
    struct pq_proto_field f, text = {0};
    float score = 0;
    int64_t type = PQ_TOKEN_NORMAL;
    int rc;
    while ((rc = pq_proto_next(&r, &f, t->e)) > 0) {
        if (f.number == 1 && f.wire == PQ_PROTO_BYTES)
            text = f;
        else if (f.number == 2 && f.wire == PQ_PROTO_FIXED32)
            score = pq_proto_float(&f);
        else if (f.number == 3 && f.wire == PQ_PROTO_VARINT)
            type = pq_proto_int(&f);
    }
    if (rc < 0)
        return rc;
    if (type < PQ_TOKEN_NORMAL || type > PQ_TOKEN_BYTE)
        return pq_fail(t->e, PQ_EFORMAT, "%s: piece %zu has type %lld, expected 1 to 6",
                       PQ_TOK_MODEL, id, (long long)type);
    if (!(score > -1e30f && score < 1e30f))
        return pq_fail(t->e, PQ_EFORMAT, "%s: piece %zu has no finite score", PQ_TOK_MODEL, id);
    return pq_tok_put(t, id, (const char *)text.data, text.size, score, (enum pq_token_type)type,
                      PQ_TOK_MODEL);
}

static int read_trainer(struct pq_proto r, struct flags *out, struct pq_err *e)
{
    struct pq_proto_field f;
    int rc;
    while ((rc = pq_proto_next(&r, &f, e)) > 0) {
        if (f.wire != PQ_PROTO_VARINT)
            continue;
        int64_t v = pq_proto_int(&f);
        switch (f.number) {
        case 3:
            out->model_type = v;
            break;
        case 40:
            out->unk = v;
            break;
        case 41:
            out->bos = v;
            break;
        case 42:
            out->eos = v;
            break;
        case 43:
            out->pad = v;
            break;
        }
    }
    return rc;
}

static int read_normalizer(struct pq_proto r, struct flags *out, struct pq_err *e)
{
    struct pq_proto_field f;
    int rc;
    while ((rc = pq_proto_next(&r, &f, e)) > 0) {
        if (f.number == 2 && f.wire == PQ_PROTO_BYTES)
            out->charsmap = f.size > 0;
        if (f.wire != PQ_PROTO_VARINT)
            continue;
        if (f.number == 3)
            out->add_dummy_prefix = f.value;
        else if (f.number == 4)
            out->remove_extra_spaces = f.value;
        else if (f.number == 5)
            out->escape_spaces = f.value;
    }
    return rc;
}

static int read_proto(struct pq_tok *t, struct pq_proto r, struct flags *flags)
{
    struct pq_proto_field f;
    size_t id = 0;
    int rc;
    while ((rc = pq_proto_next(&r, &f, t->e)) > 0) {
        if (f.wire != PQ_PROTO_BYTES)
            continue;
        struct pq_proto sub = pq_proto_sub(&r, &f);
        if (f.number == 1)
            rc = read_piece(t, sub, id++);
        else if (f.number == 2)
            rc = read_trainer(sub, flags, t->e);
        else if (f.number == 3)
            rc = read_normalizer(sub, flags, t->e);
        if (rc < 0)
            return rc;
    }
    if (rc == PQ_OK && !id)
        return pq_fail(t->e, PQ_EFORMAT, "%s: no pieces", PQ_TOK_MODEL);
    return rc;
}

static int judge_flags(struct pq_tok *t, const struct flags *f, bool alone)
{
    if (f->model_type != BPE)
        return pq_fail(t->e, PQ_EUNSUPPORTED,
                       "%s: a %s model (model_type %lld), Phi's are BPE (model_type 2)",
                       PQ_TOK_MODEL, f->model_type == UNIGRAM ? "unigram" : "non-BPE",
                       (long long)f->model_type);
    if (alone && (f->charsmap || f->remove_extra_spaces || !f->escape_spaces))
        return pq_fail(t->e, PQ_EUNSUPPORTED,
                       "%s: its normalizer changes text (%s), Phi's does not", PQ_TOK_MODEL,
                       f->charsmap              ? "precompiled_charsmap"
                       : f->remove_extra_spaces ? "remove_extra_whitespaces"
                                                : "escape_whitespaces is off");
    return PQ_OK;
}

static int64_t id_or_none(const struct pq_tok *t, int64_t id)
{
    return id >= 0 && (uint64_t)id < t->n_vocab ? id : -1;
}

int pq_tok_read_model(struct pq_tok *t, bool alone)
{
    struct flags f = {.model_type = UNIGRAM,
                      .bos = 1,
                      .eos = 2,
                      .pad = -1,
                      .add_dummy_prefix = true,
                      .remove_extra_spaces = true,
                      .escape_spaces = true};
    char *data = NULL;
    size_t size;
    int rc = PQ_ENOMEM;
    char *path = pq_path_join(t->a, t->dir, PQ_TOK_MODEL);
    if (!path)
        return pq_tok_no_memory(t->e);
    PQ_TRY(pq_file_read(path, MAX_MODEL, &data, &size, t->e));
    PQ_TRY(read_proto(t, pq_proto_open(data, size, PQ_TOK_MODEL), &f));
    PQ_TRY(judge_flags(t, &f, alone));
    t->v->add_space_prefix = f.add_dummy_prefix;
    t->v->unk = id_or_none(t, f.unk);
    t->v->bos = id_or_none(t, f.bos);
    t->v->eos = id_or_none(t, f.eos);
    t->v->pad = id_or_none(t, f.pad);
out:
    pq_free(data);
    return rc;
}
