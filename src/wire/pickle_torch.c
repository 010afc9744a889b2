/* The names that a torch state dict needs, and the tensors that they build.
 * SPDX-License-Identifier: MIT */
#include "wire/pickle_value.h"

#include "base/num.h"

#include <inttypes.h>
#include <string.h>

enum what { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_TYPE, DTYPE };

struct pq_pickle_global {
    const char *module, *name;
    enum what what;
    enum pq_dtype dtype; /* of STORAGE_TYPE and DTYPE */
    size_t least_args, most_args;
};

typedef struct pq_pickle_value value;

/* The whole list. torch/_utils.py and torch/storage.py say what each means. */
static const struct pq_pickle_global globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, PQ_DTYPES, 0, 0},
    /* storage, offset, size, stride, requires_grad, hooks[, metadata] */
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, PQ_DTYPES, 6, 7},
    /* ..., hooks, dtype[, metadata]: the storage is bytes, the dtype stands apart */
    {"torch._utils", "_rebuild_tensor_v3", REBUILD_TENSOR, PQ_DTYPES, 7, 8},
    /* tensor, requires_grad, hooks */
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, PQ_DTYPES, 3, 3},
    {"torch", "FloatStorage", STORAGE_TYPE, PQ_F32, 0, 0},
    {"torch", "HalfStorage", STORAGE_TYPE, PQ_F16, 0, 0},
    {"torch", "BFloat16Storage", STORAGE_TYPE, PQ_BF16, 0, 0},
    {"torch", "DoubleStorage", STORAGE_TYPE, PQ_F64, 0, 0},
    {"torch", "LongStorage", STORAGE_TYPE, PQ_I64, 0, 0},
    {"torch", "IntStorage", STORAGE_TYPE, PQ_I32, 0, 0},
    {"torch", "ShortStorage", STORAGE_TYPE, PQ_I16, 0, 0},
    {"torch", "CharStorage", STORAGE_TYPE, PQ_I8, 0, 0},
    {"torch", "ByteStorage", STORAGE_TYPE, PQ_U8, 0, 0},
    {"torch", "BoolStorage", STORAGE_TYPE, PQ_BOOL, 0, 0},
    {"torch", "UntypedStorage", STORAGE_TYPE, PQ_U8, 0, 0},
    {"torch.storage", "UntypedStorage", STORAGE_TYPE, PQ_U8, 0, 0},
    {"torch", "float8_e4m3fn", DTYPE, PQ_F8_E4M3, 0, 0},
    {"torch", "float8_e5m2", DTYPE, PQ_F8_E5M2, 0, 0},
    {"torch", "float8_e8m0fnu", DTYPE, PQ_F8_E8M0, 0, 0},
    {"torch", "uint16", DTYPE, PQ_U16, 0, 0},
    {"torch", "uint32", DTYPE, PQ_U32, 0, 0},
    {"torch", "uint64", DTYPE, PQ_U64, 0, 0},
};

int pq_pickle_global(const struct pq_pickle_ctx *c, const char *module, const char *name, value **v)
{
    for (size_t i = 0; i < PQ_LEN(globals); i++)
        if (!strcmp(globals[i].module, module) && !strcmp(globals[i].name, name)) {
            *v = pq_pickle_new(c, PQ_PICKLE_GLOBAL);
            if (!*v)
                return pq_pickle_oom(c);
            (*v)->global = &globals[i];
            return PQ_OK;
        }
    return pq_fail(
        c->e, PQ_EUNSUPPORTED,
        "%s: its pickle asks for %.100s.%.100s, which no plain checkpoint needs; refused", c->file,
        module, name);
}

static bool is(const value *v, enum pq_pickle_kind kind)
{
    return v->kind == kind;
}

static const char *str(const value *v)
{
    return is(v, PQ_PICKLE_STR) ? v->s : "";
}

static bool size_of(const value *v, uint64_t *n)
{
    *n = (uint64_t)v->i;
    return is(v, PQ_PICKLE_INT) && v->i >= 0;
}

int pq_pickle_persistent(const struct pq_pickle_ctx *c, const value *id, value **v)
{
    uint64_t n;
    if (!is(id, PQ_PICKLE_TUPLE) || id->n != 5 || strcmp(str(id->item[0]), "storage") ||
        !is(id->item[1], PQ_PICKLE_GLOBAL) || id->item[1]->global->what != STORAGE_TYPE ||
        !is(id->item[2], PQ_PICKLE_STR) || !size_of(id->item[4], &n))
        return pq_pickle_bad(c, "a persistent id that is no (storage, type, key, place, size)");
    struct pq_pickle_tensor *t = (struct pq_pickle_tensor *)pq_arena_alloc(c->a, 1, sizeof *t);
    *v = pq_pickle_new(c, PQ_PICKLE_STORAGE);
    if (!t || !*v)
        return pq_pickle_oom(c);
    t->storage = id->item[2]->s;
    t->dtype = id->item[1]->global->dtype;
    if (!pq_mul_u64(n, pq_dtype_size(t->dtype), &t->storage_size))
        return pq_pickle_bad(c, "a storage whose size overflows 64 bits");
    (*v)->t = t;
    return PQ_OK;
}

/* Shape and size, and whether the strides are other than those of rows one after the other. */
static int shape(const struct pq_pickle_ctx *c, struct pq_pickle_tensor *t,
                 const value *const arg[], bool *strided)
{
    const value *dims = arg[2], *strides = arg[3];
    if (!is(dims, PQ_PICKLE_TUPLE) || !is(strides, PQ_PICKLE_TUPLE) || dims->n != strides->n)
        return pq_pickle_bad(c, "a tensor whose shape and stride are not tuples of one length");
    if (dims->n > PQ_LEN(t->dim))
        return pq_pickle_bad(c, "a tensor of more than 8 dimensions");
    uint64_t count = 1, stride;
    bool contiguous = true;
    t->n_dims = (int)dims->n;
    for (size_t i = dims->n; i-- > 0;) {
        if (!size_of(dims->item[i], &t->dim[i]) || !size_of(strides->item[i], &stride))
            return pq_pickle_bad(c,
                                 "a tensor whose shape or stride holds something else than sizes");
        contiguous &= t->dim[i] == 1 || stride == count;
        if (!pq_mul_u64(count, t->dim[i], &count))
            return pq_pickle_bad(c, "a tensor whose shape overflows 64 bits");
    }
    *strided = !contiguous && count;
    return pq_mul_u64(count, pq_dtype_size(t->dtype), &t->size)
               ? PQ_OK
               : pq_pickle_bad(c, "a tensor whose size overflows 64 bits");
}

static int place(const struct pq_pickle_ctx *c, struct pq_pickle_tensor *t, const value *offset)
{
    uint64_t first, end;
    if (!size_of(offset, &first) || !pq_mul_u64(first, pq_dtype_size(t->dtype), &t->at) ||
        !pq_add_u64(t->at, t->size, &end) || end > t->storage_size)
        return pq_fail(c->e, PQ_EFORMAT,
                       "%s: pickle byte %zu: a tensor passes the end of storage %s, which has "
                       "%" PRIu64 " bytes",
                       c->file, (size_t)(c->at - c->start), t->storage, t->storage_size);
    return PQ_OK;
}

static int rebuild(const struct pq_pickle_ctx *c, const struct pq_pickle_global *g,
                   const value *args, value **v)
{
    int rc = PQ_OK;
    const bool typed = g->least_args == 7;
    const value *storage = args->item[0];
    if (!is(storage, PQ_PICKLE_STORAGE))
        return pq_pickle_bad(c, "a tensor without a storage");
    if (typed && (!is(args->item[6], PQ_PICKLE_GLOBAL) || args->item[6]->global->what != DTYPE))
        return pq_pickle_bad(c, "a tensor without a dtype");
    struct pq_pickle_tensor *t = (struct pq_pickle_tensor *)pq_arena_alloc(c->a, 1, sizeof *t);
    *v = pq_pickle_new(c, PQ_PICKLE_TENSOR);
    if (!t || !*v)
        return pq_pickle_oom(c);
    *t = *storage->t;
    if (typed)
        t->dtype = args->item[6]->global->dtype;
    PQ_TRY(shape(c, t, (const value *const *)args->item, &(*v)->strided));
    PQ_TRY(place(c, t, args->item[1]));
    (*v)->t = t;
out:
    return rc;
}

int pq_pickle_call(const struct pq_pickle_ctx *c, const value *fn, const value *args, value **v)
{
    const struct pq_pickle_global *g = fn->global;
    if (args->n < g->least_args || args->n > g->most_args)
        return pq_fail(c->e, PQ_EFORMAT, "%s: pickle byte %zu: %s.%s with %zu arguments", c->file,
                       (size_t)(c->at - c->start), g->module, g->name, args->n);
    switch (g->what) {
    case ORDERED_DICT:
        *v = pq_pickle_new(c, PQ_PICKLE_DICT);
        return *v ? PQ_OK : pq_pickle_oom(c);
    case REBUILD_TENSOR:
        return rebuild(c, g, args, v);
    case REBUILD_PARAMETER:
        *v = args->item[0];
        return is(*v, PQ_PICKLE_TENSOR) ? PQ_OK : pq_pickle_bad(c, "a parameter without a tensor");
    default:
        return pq_fail(c->e, PQ_EFORMAT, "%s: pickle byte %zu: calls %s.%s, which is a type",
                       c->file, (size_t)(c->at - c->start), g->module, g->name);
    }
}
