/* Constants of IR documents, and looking things up in them, see ir.h. SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "wire/ir_inside.h"

#include <inttypes.h>

const char *pq_ir_attr(const struct pq_ir_layer *l, const char *key)
{
    for (size_t i = 0; i < l->n_attr; i++)
        if (!strcmp(l->attr[i].key, key))
            return l->attr[i].value;
    return NULL;
}

const char *pq_ir_info(const struct pq_ir *m, const char *key)
{
    for (size_t i = 0; i < m->n_info; i++)
        if (!strcmp(m->info[i].key, key))
            return m->info[i].value;
    return NULL;
}

/* A number at *s, which moves behind it and the blanks around it. */
static bool take_number(const char **s, uint64_t *v)
{
    *s += strspn(*s, " ");
    const char *from = *s;
    for (*v = 0; **s >= '0' && **s <= '9'; ++*s)
        if (!pq_mul_u64(*v, 10, v) || !pq_add_u64(*v, (uint64_t)(**s - '0'), v))
            return false;
    const bool some = *s > from;
    *s += strspn(*s, " ");
    return some;
}

bool pq_ir_number(const char *s, uint64_t *v)
{
    return take_number(&s, v) && !*s;
}

static bool number_of(const struct pq_ir_layer *l, const char *key, uint64_t *v)
{
    const char *s = pq_ir_attr(l, key);
    return s && pq_ir_number(s, v);
}

/* "496, 256"; nothing at all is a scalar. */
static bool take_shape(const char *s, struct pq_ir_value *v)
{
    uint64_t size;
    if (!s[strspn(s, " ")])
        return true;
    for (;;) {
        if (v->n_dims == PQ_IR_MAX_DIMS || !take_number(&s, &size) || size > INT64_MAX)
            return false;
        v->dim[v->n_dims++] = (int64_t)size;
        if (*s != ',')
            return !*s;
        s++;
    }
}

/* Bytes that a value takes; false when they are absurdly many. Strings say their size themselves.
 */
static bool bytes_of(const struct pq_ir_value *v, uint64_t *bytes)
{
    uint64_t bits = (uint64_t)pq_ir_type_bits(v->type);
    bool ok = true;
    for (int i = 0; i < v->n_dims; i++)
        ok &= pq_mul_u64(bits, (uint64_t)v->dim[i], &bits);
    *bytes = pq_ceil_div(bits, 8);
    return ok;
}

int pq_ir_const(struct pq_ir_const *c, const struct pq_ir_layer *l, const struct pq_ir_text *text,
                uint64_t file_size, struct pq_err *e)
{
    const char *type = pq_ir_attr(l, "element_type"), *shape = pq_ir_attr(l, "shape");
    uint64_t need;
    *c = (struct pq_ir_const){.type_name = type};
    if (!type || !shape || !number_of(l, "offset", &c->offset) || !number_of(l, "size", &c->bytes))
        return pq_fail(e, PQ_EFORMAT,
                       "%s: constant %s lacks its element_type, shape, offset or size, or they "
                       "are no numbers",
                       text->path, l->name);
    c->v.type = pq_ir_type_find(type);
    if (!take_shape(shape, &c->v))
        return pq_fail(e, PQ_EFORMAT, "%s: constant %s: \"%.60s\" is no shape", text->path, l->name,
                       shape);
    if (c->offset > file_size || c->bytes > file_size - c->offset)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: constant %s: %" PRIu64 " bytes at offset %" PRIu64
                       " of a .bin file that has only %" PRIu64,
                       text->path, l->name, c->bytes, c->offset, file_size);
    if (!bytes_of(&c->v, &need) || (pq_ir_type_bits(c->v.type) && need != c->bytes))
        return pq_fail(e, PQ_EFORMAT,
                       "%s: constant %s has %" PRIu64
                       " bytes, its shape [%.60s] of %s needs others",
                       text->path, l->name, c->bytes, shape, type);
    return PQ_OK;
}
