/* What holds for every scheme: look-up, sizes, encode, decode. SPDX-License-Identifier: MIT */
#include "quant/scheme.h"
#include "base/num.h"
#include "quant/table.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const struct pq_scheme *const families[] = {
#define PQ_X(array) array,
    PQ_SCHEME_FAMILIES(PQ_X)
#undef PQ_X
};

static const char *const solvers[] = {
    [PQ_SOLVER_RTN] = "rtn", [PQ_SOLVER_SEARCH] = "search", [PQ_SOLVER_GPTQ] = "gptq"};

const char *pq_solver_name(enum pq_solver s)
{
    return solvers[s];
}

bool pq_solver_find(const char *name, enum pq_solver *out)
{
    for (size_t i = 0; i < PQ_LEN(solvers); i++)
        if (!strcmp(name, solvers[i])) {
            *out = (enum pq_solver)i;
            return true;
        }
    return false;
}

const struct pq_scheme *pq_scheme_at(int i)
{
    for (size_t f = 0; i >= 0 && f < PQ_LEN(families); f++)
        for (const struct pq_scheme *s = families[f]; s->name; s++)
            if (i-- == 0)
                return s;
    return NULL;
}

static int lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool same_word(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    return lower(*a) == lower(*b);
}

#define FIND(s, condition)                                     \
    do {                                                       \
        const struct pq_scheme *s;                             \
        for (int i_ = 0; (s = pq_scheme_at(i_)) != NULL; i_++) \
            if (condition)                                     \
                return s;                                      \
    } while (0)

const struct pq_scheme *pq_scheme_find(const char *name)
{
    FIND(s, same_word(s->name, name));
    return NULL;
}

const struct pq_scheme *pq_scheme_of_dtype(enum pq_dtype t)
{
    FIND(s, s->family == PQ_FAM_FLOAT && s->dtype == t);
    return NULL;
}

const struct pq_scheme *pq_scheme_of_ggml(uint32_t type)
{
    if (type != PQ_NO_GGML_TYPE)
        FIND(s, s->ggml_type == type);
    return NULL;
}

static bool same_form(const struct pq_scheme *s, const struct pq_scheme *t)
{
    return s->family == t->family && s->encoder == t->encoder && s->bits == t->bits &&
           s->group == t->group && s->symmetric == t->symmetric && s->aux == t->aux &&
           s->signed_codes == t->signed_codes && s->byte_zeros == t->byte_zeros;
}

const struct pq_scheme *pq_scheme_with_aux(const struct pq_scheme *s, enum pq_dtype aux)
{
    if (s->aux == PQ_DTYPES || s->aux == aux)
        return s;
    struct pq_scheme like = *s;
    like.aux = aux;
    FIND(t, same_form(t, &like));
    return NULL;
}

const struct pq_scheme *pq_scheme_packed(const struct pq_scheme *s, bool signed_codes,
                                         bool byte_zeros)
{
    struct pq_scheme like = *s;
    like.signed_codes = signed_codes;
    like.byte_zeros = byte_zeros;
    FIND(t, same_form(t, &like));
    return NULL;
}

const struct pq_scheme *pq_scheme_with_group(const struct pq_scheme *s, uint32_t group)
{
    struct pq_scheme like = *s;
    like.group = group;
    FIND(t, same_form(t, &like));
    return NULL;
}

uint64_t pq_scheme_part_bytes(const struct pq_scheme *s, uint64_t cols, int i)
{
    struct pq_part part[PQ_MAX_PARTS];
    int n = s->parts(s, cols, part);
    return i < n ? part[i].cols * pq_dtype_size(part[i].dtype) : 0;
}

uint64_t pq_scheme_row_bytes(const struct pq_scheme *s, uint64_t cols)
{
    uint64_t sum = 0;
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        sum += pq_scheme_part_bytes(s, cols, i);
    return sum;
}

double pq_scheme_bpw(const struct pq_scheme *s, uint64_t cols)
{
    return cols ? 8.0 * (double)pq_scheme_row_bytes(s, cols) / (double)cols : 0.0;
}

/* Half-precision numbers to single precision in place, last first. */
static void widen_scales(uint8_t *p, uint64_t n)
{
    while (n-- > 0)
        pq_put_le32(p + 4 * n, pq_f32_bits(pq_f16_to_f32(pq_le16(p + 2 * n))));
}

/* Unsigned codes to two's complement, and back: the sign bit of each. */
static void flip_signs(const struct pq_scheme *s, uint8_t *q, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        q[i] ^= s->bits == 8 ? 0x80 : 0x88;
}

/* Nibbles to bytes in place, last first. */
static void spread_zeros(uint8_t *zeros, uint64_t n)
{
    while (n-- > 0)
        zeros[n] = zeros[n / 2] >> 4 * (n % 2) & 15;
}

void pq_scheme_encode(const struct pq_scheme *s, const struct pq_kern *k, enum pq_solver solver,
                      const float *x, const float *importance, uint64_t cols, void *const part[])
{
    assert(s->encoder < PQ_N_ENCODERS && k->encode[s->encoder] && cols % s->block == 0);
    const bool wide = s->family == PQ_FAM_INT && s->aux == PQ_F32;
    struct pq_encode_in in = {
        .x = x,
        .importance = importance,
        .cols = cols,
        .search = solver != PQ_SOLVER_RTN,
        .bits = s->bits,
        .group = s->group ? s->group : cols,
        .aux = wide ? PQ_F16 : s->aux,
        .symmetric = s->symmetric,
    };
    k->encode[s->encoder](&in, part);
    if (wide)
        widen_scales((uint8_t *)part[1], cols / in.group);
    if (s->signed_codes)
        flip_signs(s, (uint8_t *)part[0], pq_scheme_part_bytes(s, cols, 0));
    if (s->byte_zeros)
        spread_zeros((uint8_t *)part[2], cols / in.group);
}

static void turned_row(const struct pq_view *v, uint64_t row, float *x)
{
    const uint64_t size = pq_dtype_size(v->scheme->dtype);
    for (uint64_t c = 0; c < v->cols; c++) {
        const void *part[PQ_MAX_PARTS] = {v->part[0] + (c * v->turned + row) * size};
        v->scheme->decode(v->scheme, part, 1, x + c);
    }
}

static void stored_row(const struct pq_view *v, const struct pq_kern *k, uint64_t row, float *x)
{
    const void *part[PQ_MAX_PARTS] = {NULL};
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        if (v->part[i])
            part[i] = v->part[i] + row * pq_scheme_part_bytes(v->scheme, v->cols, i);
    if (k && v->scheme->dtype == PQ_BF16)
        k->widen_bf16(part[0], v->cols, x);
    else if (k && v->scheme->dtype == PQ_F16)
        k->widen_f16(part[0], v->cols, x);
    else
        v->scheme->decode(v->scheme, part, v->cols, x);
}

void pq_view_row(const struct pq_view *v, const struct pq_kern *k, uint64_t row, float *x)
{
    if (v->turned)
        turned_row(v, row, x);
    else
        stored_row(v, k, row, x);
    for (uint64_t c = 0; v->factor && c < v->cols; c++)
        x[c] *= v->factor[c];
}
