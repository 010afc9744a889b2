/*
 * From the operators that undo a compression back to what is stored. The chain is that of NNCF and
 * of our own writer (ov_linear.c), conversions anywhere:
 *     [Reshape] <- Multiply(<- [Subtract(codes, zero points)] | codes, scales)
 * SPDX-License-Identifier: MIT
 */
#include "container/ov_reader.h"

#include <inttypes.h>

#define MAX_STEPS 16 /* from an operator to the constant behind it; ends circles too */

struct chain {
    const struct pq_ir_layer *layer; /* of the codes */
    const struct pq_ir_const *codes, *scales, *zeros, *shape;
    uint64_t rows, groups, group; /* a row is groups * group codes */
};

/* ---- the operators ---- */

static bool is(const struct pq_ir_layer *l, const char *type, size_t n_in)
{
    return l->n_in == n_in && !strcmp(l->type, type);
}

/* What lies behind conversions. */
static struct pq_ir_ref unconverted(const struct pq_ov_reader *r, struct pq_ir_ref from)
{
    for (int i = 0; i < MAX_STEPS && is(pq_ov_layer(r, from), "Convert", 1); i++)
        from = pq_ov_layer(r, from)->in[0];
    return from;
}

const struct pq_ir_const *pq_ov_constant(const struct pq_ov_reader *r, struct pq_ir_ref from)
{
    const struct pq_ir_const *c = &r->ir->constant[unconverted(r, from).layer - 1];
    return c->data ? c : NULL;
}

static bool follow(const struct pq_ov_reader *r, struct pq_ir_ref from, struct chain *c)
{
    from = unconverted(r, from);
    if (is(pq_ov_layer(r, from), "Reshape", 2)) {
        if (!(c->shape = pq_ov_constant(r, pq_ov_layer(r, from)->in[1])))
            return false;
        from = unconverted(r, pq_ov_layer(r, from)->in[0]);
    }
    if (is(pq_ov_layer(r, from), "Multiply", 2)) {
        if (!(c->scales = pq_ov_constant(r, pq_ov_layer(r, from)->in[1])))
            return false;
        from = unconverted(r, pq_ov_layer(r, from)->in[0]);
    }
    if (c->scales && is(pq_ov_layer(r, from), "Subtract", 2)) {
        if (!(c->zeros = pq_ov_constant(r, pq_ov_layer(r, from)->in[1])))
            return false;
        from = unconverted(r, pq_ov_layer(r, from)->in[0]);
    }
    c->layer = pq_ov_layer(r, from);
    c->codes = pq_ov_constant(r, from);
    return c->codes != NULL;
}

/* Does the way along first inputs end in a constant? */
static bool comes_from_constant(const struct pq_ov_reader *r, struct pq_ir_ref from)
{
    for (int i = 0; i < MAX_STEPS && pq_ov_layer(r, from)->n_in; i++)
        from = pq_ov_layer(r, from)->in[0];
    return pq_ov_constant(r, from) != NULL;
}

/* ---- shapes ---- */

static int unread(const struct pq_ov_reader *r, const struct chain *c, const char *what)
{
    return pq_fail(r->e, PQ_EUNSUPPORTED, "%s: constant %s (%s): %s", r->ir->path, c->layer->name,
                   c->codes->type_name, what);
}

static bool has_shape(const struct pq_ir_const *c, const uint64_t *dim, int n)
{
    bool same = c->v.n_dims == n;
    for (int i = 0; same && i < n; i++)
        same = (uint64_t)c->v.dim[i] == dim[i];
    return same;
}

static bool is_single(const struct pq_ir_const *c)
{
    bool single = true;
    for (int i = 0; i < c->v.n_dims; i++)
        single &= c->v.dim[i] == 1;
    return single;
}

/* The target of a Reshape is the matrix itself. */
static bool reshapes_to_matrix(const struct chain *c)
{
    const uint64_t two = 2;
    if (!c->shape)
        return c->codes->v.n_dims == 2;
    return c->shape->v.type == PQ_IR_I64 && has_shape(c->shape, &two, 1) &&
           pq_le64(c->shape->data) == c->rows &&
           pq_le64(c->shape->data + 8) == c->groups * c->group;
}

/* [rows, cols], or [rows, groups, group] before a Reshape. */
static int measure(const struct pq_ov_reader *r, struct chain *c)
{
    const struct pq_ir_value *v = &c->codes->v;
    if (v->n_dims != 2 && v->n_dims != 3)
        return unread(r, c, "only matrices are read, whole or in groups; no experts");
    c->rows = (uint64_t)v->dim[0];
    c->groups = v->n_dims == 3 ? (uint64_t)v->dim[1] : 1;
    c->group = (uint64_t)v->dim[v->n_dims - 1];
    if (!c->rows || c->rows > UINT32_MAX || !c->groups || c->groups > UINT32_MAX || !c->group ||
        c->group > UINT32_MAX || c->groups * c->group > UINT32_MAX)
        return unread(r, c, "its shape is none of a matrix");
    if (!reshapes_to_matrix(c))
        return unread(r, c, "it is reshaped to something that is not a matrix of its rows");
    return PQ_OK;
}

/* ---- schemes ---- */

/* Codes of 4 and 8 bits, what they are called, whether the zero point is part of them. */
static const struct code_type {
    enum pq_ir_type type;
    int bits;
    bool is_signed;
} code_types[] = {
    {PQ_IR_U4, 4, false}, {PQ_IR_I4, 4, true}, {PQ_IR_U8, 8, false}, {PQ_IR_I8, 8, true}};

static const struct code_type *code_type(enum pq_ir_type t)
{
    for (size_t i = 0; i < PQ_LEN(code_types); i++)
        if (code_types[i].type == t)
            return &code_types[i];
    return NULL;
}

/* One group per row is a scheme of rows; their packing is the same. */
static const struct pq_scheme *find_scheme(const struct chain *c, const struct pq_scheme *like)
{
    const struct pq_scheme *s, *found = NULL;
    for (int i = 0; (s = pq_scheme_at(i)); i++)
        if (s->family == PQ_FAM_INT && s->bits == like->bits && s->symmetric == like->symmetric &&
            s->signed_codes == like->signed_codes && s->byte_zeros == like->byte_zeros &&
            s->aux == like->aux && (s->group == c->group || (!s->group && c->groups == 1)))
            found = found && found->group == 0 ? found : s;
    return found;
}

/* ---- zero points ---- */

static unsigned zero_at(const struct pq_ir_const *z, uint64_t i)
{
    return z->v.type == PQ_IR_U8 ? z->data[i] : z->data[i / 2] >> 4 * (i % 2) & 15u;
}

/* A byte each: one for all, or of 4 bits where rows would begin inside a byte. */
static int spread_zeros(const struct pq_ov_reader *r, const struct chain *c, struct pq_view *v)
{
    const uint64_t n = c->rows * c->groups;
    uint8_t *bytes = (uint8_t *)pq_arena_alloc(r->a, n, 1);
    if (!bytes)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", r->ir->path);
    for (uint64_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)zero_at(c->zeros, is_single(c->zeros) ? 0 : i);
    v->part[2] = bytes;
    v->own_zeros = true;
    return PQ_OK;
}

/* ---- matrices ---- */

static int take_floats(const struct pq_ov_reader *r, const struct chain *c, struct pq_view *v)
{
    const enum pq_ir_type t = c->codes->v.type;
    if (t != PQ_IR_F32 && t != PQ_IR_F16 && t != PQ_IR_BF16)
        return unread(r, c, "elements of this type are not read without scales");
    v->scheme = pq_scheme_of_dtype(pq_ir_dtype_of(t));
    return PQ_OK;
}

static int take_mxfp4(const struct pq_ov_reader *r, const struct chain *c, struct pq_view *v)
{
    v->scheme = pq_scheme_find("mxfp4");
    if (c->zeros || c->scales->v.type != PQ_IR_F8E8M0 || c->group != v->scheme->group)
        return unread(r, c, "only mxfp4 is read of this type: groups of 32 with f8e8m0 scales");
    return PQ_OK;
}

static int take_nf4(const struct pq_ov_reader *r, const struct chain *c, struct pq_view *v)
{
    v->scheme = pq_scheme_with_group(pq_scheme_find("nf4g64"), (uint32_t)c->group);
    if (c->zeros || c->scales->v.type != PQ_IR_F16 || !v->scheme)
        return unread(r, c, "nf4 is read in groups of 32, 64 or 128 with f16 scales");
    return PQ_OK;
}

static int take_integers(const struct pq_ov_reader *r, const struct chain *c, struct pq_view *v)
{
    const struct code_type *t = code_type(c->codes->v.type);
    struct pq_scheme like = {.aux = pq_ir_dtype_of(c->scales->v.type)};
    if (t->is_signed == (c->zeros != NULL))
        return unread(r, c,
                      t->is_signed ? "signed codes with zero points are not read"
                                   : "unsigned codes without zero points are not read");
    const bool one = c->zeros && is_single(c->zeros) && c->rows * c->groups > 1;
    like.bits = t->bits;
    like.signed_codes = t->is_signed;
    like.symmetric = t->is_signed || (one && zero_at(c->zeros, 0) == 1u << (t->bits - 1));
    like.byte_zeros =
        !like.symmetric && t->bits == 4 && (one || c->groups % 2 || c->zeros->v.type == PQ_IR_U8);
    v->scheme = find_scheme(c, &like);
    if (!v->scheme)
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: constant %s: %d-bit codes in groups of %" PRIu64
                       " with %s scales are not read",
                       r->ir->path, c->layer->name, t->bits, c->group, c->scales->type_name);
    if (like.symmetric)
        return PQ_OK;
    if (one || (like.byte_zeros && c->zeros->v.type == PQ_IR_U4))
        return spread_zeros(r, c, v);
    v->part[2] = c->zeros->data;
    return PQ_OK;
}

/* Scales and zero points: one for each group; [rows, 1] where the row is the group. */
static bool beside(const struct chain *c, const struct pq_ir_const *x)
{
    const uint64_t dim[3] = {c->rows, c->groups, 1}, flat[2] = {c->rows, 1};
    return c->codes->v.n_dims == 3 ? has_shape(x, dim, 3) : has_shape(x, flat, 2);
}

static int take_compressed(const struct pq_ov_reader *r, const struct chain *c, struct pq_view *v)
{
    const struct pq_ir_const *z = c->zeros;
    const enum pq_ir_type codes = c->codes->v.type;
    const bool table = codes == PQ_IR_F4E2M1 || codes == PQ_IR_NF4;
    if (!table && !code_type(codes))
        return unread(r, c, "compressed weights of this type are not read");
    if (!beside(c, c->scales))
        return unread(r, c, "its scales are not one for each group");
    if (z && z->v.type != codes && z->v.type != PQ_IR_U8)
        return unread(r, c, "its zero points are of another type");
    if (z && !is_single(z) && !beside(c, z))
        return unread(r, c, "its zero points are neither one nor one for each group");
    v->part[1] = c->scales->data;
    int rc = codes == PQ_IR_F4E2M1 ? take_mxfp4(r, c, v)
             : codes == PQ_IR_NF4  ? take_nf4(r, c, v)
                                   : take_integers(r, c, v);
    if (rc >= 0 && v->cols % v->scheme->block)
        rc = unread(r, c, "its rows do not have a multiple of 32 codes");
    return rc;
}

int pq_ov_matrix(const struct pq_ov_reader *r, struct pq_ir_ref from, struct pq_ov_entry *t)
{
    struct chain c = {0};
    if (!follow(r, from, &c)) {
        if (!comes_from_constant(r, from))
            return 0;
        return pq_fail(r->e, PQ_EUNSUPPORTED,
                       "%s: layer %s: weights in a form that is not read: only conversion, "
                       "subtraction of zero points, scales and a reshape may lie before them",
                       r->ir->path, pq_ov_layer(r, from)->name);
    }
    int rc = measure(r, &c);
    if (rc < 0)
        return rc;
    t->n_dims = 2;
    t->view = (struct pq_view){.part = {c.codes->data}, .rows = c.rows, .cols = c.groups * c.group};
    rc = c.scales ? take_compressed(r, &c, &t->view) : take_floats(r, &c, &t->view);
    return rc < 0 ? rc : 1;
}

bool pq_ov_row(const struct pq_ov_reader *r, struct pq_ir_ref from, struct pq_ov_entry *t)
{
    const struct pq_ir_const *c = pq_ov_constant(r, from);
    if (!c || !c->v.n_dims)
        return false;
    const enum pq_ir_type type = c->v.type;
    const int64_t cols = c->v.dim[c->v.n_dims - 1];
    if (cols < 2 || cols > UINT32_MAX ||
        (type != PQ_IR_F32 && type != PQ_IR_F16 && type != PQ_IR_BF16))
        return false;
    for (int i = 0; i + 1 < c->v.n_dims; i++)
        if (c->v.dim[i] != 1)
            return false;
    t->n_dims = 1;
    t->view = (struct pq_view){.scheme = pq_scheme_of_dtype(pq_ir_dtype_of(type)),
                               .part = {c->data},
                               .rows = 1,
                               .cols = (uint64_t)cols};
    return true;
}
