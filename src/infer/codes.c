/* Which schemes are codes with scales, and how their rows are spread out.
 * SPDX-License-Identifier: MIT */
#include "infer/linear.h"

#include "base/num.h"

#define BLOCKS(name, codes, per, z, offsets, width)                                       \
    {                                                                                     \
        name,                                                                             \
        {                                                                                 \
            .type = codes, .group = per, .zero = z, .has_offsets = offsets, .bits = width \
        }                                                                                 \
    }

static const struct {
    const char *scheme;
    struct pq_code_rule rule;
} blocks[] = {
    BLOCKS("q4_0", PQ_CODES_Q4_0, 32, 8, false, 4),
    BLOCKS("q4_1", PQ_CODES_Q4_1, 32, 0, true, 4),
    BLOCKS("q5_0", PQ_CODES_Q5_0, 32, 16, false, 5),
    BLOCKS("q5_1", PQ_CODES_Q5_1, 32, 0, true, 5),
    BLOCKS("q8_0", PQ_CODES_Q8_0, 32, 128, false, 8),
    BLOCKS("iq4_nl", PQ_CODES_IQ4_NL, 32, 128, false, 8),
    BLOCKS("mxfp4-gguf", PQ_CODES_MXFP4_GGUF, 32, 128, false, 8),
    BLOCKS("q2_k", PQ_CODES_Q2_K, 16, 0, true, 2),
    BLOCKS("q3_k", PQ_CODES_Q3_K, 16, 4, false, 3),
    BLOCKS("q4_k", PQ_CODES_Q4_K, 32, 0, true, 4),
    BLOCKS("q5_k", PQ_CODES_Q5_K, 32, 0, true, 5),
    BLOCKS("q6_k", PQ_CODES_Q6_K, 16, 32, false, 6),
    BLOCKS("iq4_xs", PQ_CODES_IQ4_XS, 32, 128, false, 8),
    BLOCKS("mxfp4", PQ_CODES_MXFP4, 32, 128, false, 8),
    BLOCKS("nvfp4", PQ_CODES_NVFP4, 16, 128, false, 8),
};

static const struct pq_code_rule none = {.type = PQ_CODES_TYPES};

static struct pq_code_rule block_rule(const struct pq_scheme *s)
{
    for (size_t i = 0; i < PQ_LEN(blocks); i++)
        if (!strcmp(s->name, blocks[i].scheme))
            return blocks[i].rule;
    return none;
}

/* Codes and scales that lie apart. */
static struct pq_code_rule apart_rule(const struct pq_scheme *s, uint64_t cols)
{
    const bool offsets = s->family == PQ_FAM_AFFINE;
    struct pq_code_rule r = {.type = s->bits == 4   ? PQ_CODES_PAIRS
                                     : s->bits == 8 ? PQ_CODES_BYTES
                                                    : PQ_CODES_BITS,
                             .group = s->group == 16 ? 16 : 32,
                             .has_offsets = offsets || !s->symmetric,
                             .bits = s->bits};
    r.in.per_scale = s->group ? s->group : cols;
    r.in.bits = s->bits;
    r.in.aux = s->aux;
    r.in.flip = s->signed_codes;
    if (!r.has_offsets)
        r.zero = 1 << (s->bits - 1);
    else if (offsets)
        r.in.zeros = PQ_ZERO_OFFSETS;
    else
        r.in.zeros = s->bits == 8 || s->byte_zeros ? PQ_ZERO_BYTES : PQ_ZERO_NIBBLES;
    return r.in.per_scale % r.group == 0 ? r : none;
}

static struct pq_code_rule view_rule(const struct pq_view *v)
{
    const struct pq_scheme *s = v->scheme;
    struct pq_code_rule r = none;
    if (v->turned || v->factor || v->cols % 32)
        return r;
    if (s->family == PQ_FAM_GGML || s->family == PQ_FAM_FP)
        r = block_rule(s);
    else if (s->family == PQ_FAM_AFFINE || s->family == PQ_FAM_INT)
        r = apart_rule(s, v->cols);
    r.in.cols = v->cols;
    return r;
}

/* Slices of one scheme, or none: strips may hold rows of two. */
struct pq_code_rule pq_code_rule_of(const struct pq_tensor *t)
{
    for (int i = 1; i < t->n_slices; i++)
        if (t->slice[i].view.scheme != t->slice[0].view.scheme)
            return none;
    for (int i = 1; i < t->n_slices; i++)
        if (view_rule(&t->slice[i].view).type == PQ_CODES_TYPES)
            return none;
    return view_rule(&t->slice[0].view);
}
