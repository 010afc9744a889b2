/* Values on the unpickler's stack; private to pickle.c and pickle_torch.c.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_WIRE_PICKLE_VALUE_H
#define PQ_WIRE_PICKLE_VALUE_H

#include "wire/pickle.h"

enum pq_pickle_kind {
    PQ_PICKLE_NONE,
    PQ_PICKLE_BOOL,
    PQ_PICKLE_INT,
    PQ_PICKLE_REAL,
    PQ_PICKLE_STR,
    PQ_PICKLE_TUPLE,
    PQ_PICKLE_LIST,
    PQ_PICKLE_DICT, /* items are key, value, key, value... */
    PQ_PICKLE_GLOBAL,
    PQ_PICKLE_STORAGE,
    PQ_PICKLE_TENSOR
};

/* A Python name that may occur, and what it stands for. */
struct pq_pickle_global;

struct pq_pickle_value {
    enum pq_pickle_kind kind;
    int64_t i;                     /* of INT, BOOL */
    const char *s;                 /* of STR */
    struct pq_pickle_value **item; /* of TUPLE, LIST, DICT */
    size_t n, cap;
    bool strided;                          /* of TENSOR: refused once its name is known */
    const struct pq_pickle_global *global; /* of GLOBAL */
    struct pq_pickle_tensor *t;            /* of TENSOR, and of STORAGE: key, dtype, size */
};

/* What an operation needs to make values and words. */
struct pq_pickle_ctx {
    struct pq_arena *a;
    const char *file;
    const uint8_t *start, *at;
    struct pq_err *e;
};

const char *pq_pickle_kind_name(enum pq_pickle_kind k);
struct pq_pickle_value *pq_pickle_new(const struct pq_pickle_ctx *c, enum pq_pickle_kind kind);
/* "FILE: pickle byte N: ..." as PQ_EFORMAT, PQ_EUNSUPPORTED or PQ_ENOMEM. */
int pq_pickle_bad(const struct pq_pickle_ctx *c, const char *what);
int pq_pickle_oom(const struct pq_pickle_ctx *c);

/* Looks a name up in the list; refuses it by name. */
int pq_pickle_global(const struct pq_pickle_ctx *c, const char *module, const char *name,
                     struct pq_pickle_value **v);
/* Calls a known function: OrderedDict or one of torch's rebuilders. */
int pq_pickle_call(const struct pq_pickle_ctx *c, const struct pq_pickle_value *fn,
                   const struct pq_pickle_value *args, struct pq_pickle_value **v);
/* A persistent id ("storage", type, key, location, elements) as a storage. */
int pq_pickle_persistent(const struct pq_pickle_ctx *c, const struct pq_pickle_value *id,
                         struct pq_pickle_value **v);

#endif
