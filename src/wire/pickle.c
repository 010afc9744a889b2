/* The stack machine: data opcodes of pickle protocols 2 to 5. SPDX-License-Identifier: MIT */
#include "wire/pickle_value.h"

#include "base/num.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_PICKLE = 16 << 20, HIGHEST_PROTOCOL = 5 };

struct machine {
    struct pq_pickle_ctx c;
    const uint8_t *end;
    struct pq_pickle_value **stack, **memo; /* heap */
    size_t *mark;                           /* heap: stack heights */
    size_t n_stack, stack_cap, n_memo, memo_cap, n_marks, mark_cap;
    bool stopped;
};

typedef struct pq_pickle_value value;

const char *pq_pickle_kind_name(enum pq_pickle_kind k)
{
    static const char *const names[] = {"None",   "a bool",    "an integer", "a float",
                                        "a str",  "a tuple",   "a list",     "a dict",
                                        "a name", "a storage", "a tensor"};
    return names[k];
}

int pq_pickle_bad(const struct pq_pickle_ctx *c, const char *what)
{
    return pq_fail(c->e, PQ_EFORMAT, "%s: pickle byte %zu: %s", c->file, (size_t)(c->at - c->start),
                   what);
}

int pq_pickle_oom(const struct pq_pickle_ctx *c)
{
    return pq_fail(c->e, PQ_ENOMEM, "%s: out of memory for its pickle", c->file);
}

value *pq_pickle_new(const struct pq_pickle_ctx *c, enum pq_pickle_kind kind)
{
    value *v = (value *)pq_arena_alloc(c->a, 1, sizeof *v);
    if (v)
        v->kind = kind;
    return v;
}

static bool grow(void **items, size_t need, size_t *cap, size_t size)
{
    if (need <= *cap)
        return true;
    size_t more = need < 32 ? 64 : 2 * need;
    void *p = pq_realloc(*items, more, size);
    if (!p)
        return false;
    *items = p;
    *cap = more;
    return true;
}

static int push(struct machine *m, value *v)
{
    void *items = m->stack;
    if (!v || !grow(&items, m->n_stack + 1, &m->stack_cap, sizeof v))
        return pq_pickle_oom(&m->c);
    m->stack = (value **)items;
    m->stack[m->n_stack++] = v;
    return PQ_OK;
}

static int push_int(struct machine *m, enum pq_pickle_kind kind, int64_t i)
{
    value *v = pq_pickle_new(&m->c, kind);
    if (v)
        v->i = i;
    return push(m, v);
}

/* What lies above the last mark belongs to it: popping stops there. */
static size_t available(const struct machine *m)
{
    return m->n_stack - (m->n_marks ? m->mark[m->n_marks - 1] : 0);
}

static int pop(struct machine *m, value **v)
{
    if (!available(m))
        return pq_pickle_bad(&m->c, "takes from an empty stack");
    *v = m->stack[--m->n_stack];
    return PQ_OK;
}

/* The value on top, of the given kind, left where it is. */
static int top(struct machine *m, enum pq_pickle_kind kind, value **v)
{
    if (!available(m))
        return pq_pickle_bad(&m->c, "takes from an empty stack");
    *v = m->stack[m->n_stack - 1];
    if ((*v)->kind != kind)
        return pq_fail(m->c.e, PQ_EFORMAT, "%s: pickle byte %zu: found %s, expected %s", m->c.file,
                       (size_t)(m->c.at - m->c.start), pq_pickle_kind_name((*v)->kind),
                       pq_pickle_kind_name(kind));
    return PQ_OK;
}

static int pop_kind(struct machine *m, enum pq_pickle_kind kind, value **v)
{
    int rc = top(m, kind, v);
    return rc < 0 ? rc : pop(m, v);
}

static int take(struct machine *m, uint64_t n, const uint8_t **p)
{
    if (n > (uint64_t)(m->end - m->c.at))
        return pq_pickle_bad(&m->c, "cut short");
    *p = m->c.at;
    m->c.at += n;
    return PQ_OK;
}

/* A little-endian unsigned number of n bytes. */
static int take_uint(struct machine *m, unsigned n, uint64_t *v)
{
    const uint8_t *p = NULL;
    int rc = take(m, n, &p);
    *v = 0;
    for (unsigned i = 0; rc >= 0 && i < n; i++)
        *v |= (uint64_t)p[i] << 8 * i;
    return rc;
}

static int take_text(struct machine *m, uint64_t n, const char **s)
{
    const uint8_t *p = NULL;
    int rc = take(m, n, &p);
    if (rc < 0)
        return rc;
    if (memchr(p, 0, n))
        return pq_pickle_bad(&m->c, "a string with a NUL byte");
    *s = pq_arena_strndup(m->c.a, (const char *)p, n);
    return *s ? PQ_OK : pq_pickle_oom(&m->c);
}

static int take_line(struct machine *m, const char **s)
{
    const uint8_t *nl = (const uint8_t *)memchr(m->c.at, '\n', (size_t)(m->end - m->c.at));
    if (!nl)
        return pq_pickle_bad(&m->c, "cut short");
    int rc = take_text(m, (uint64_t)(nl - m->c.at), s);
    m->c.at += rc >= 0;
    return rc;
}

/* Appends n > 0 values to a list, tuple or dict. */
static int extend(struct machine *m, value *to, value *const *from, size_t n)
{
    if (to->n + n > to->cap) {
        size_t cap = to->n ? 2 * (to->n + n) : n;
        value **item = (value **)pq_arena_alloc(m->c.a, cap, sizeof *item);
        if (!item)
            return pq_pickle_oom(&m->c);
        if (to->n)
            memcpy(item, to->item, to->n * sizeof *item);
        to->item = item;
        to->cap = cap;
    }
    memcpy(to->item + to->n, from, n * sizeof *from);
    to->n += n;
    return PQ_OK;
}

static int push_tuple(struct machine *m, size_t n)
{
    if (n > available(m))
        return pq_pickle_bad(&m->c, "takes from an empty stack");
    value *v = pq_pickle_new(&m->c, PQ_PICKLE_TUPLE);
    if (!v)
        return pq_pickle_oom(&m->c);
    int rc = n ? extend(m, v, m->stack + m->n_stack - n, n) : PQ_OK;
    m->n_stack -= n;
    return rc < 0 ? rc : push(m, v);
}

/* Moves the n topmost values into the container below them. */
static int put_items(struct machine *m, size_t n, enum pq_pickle_kind kind)
{
    value *to = NULL;
    if (n > available(m) || (kind == PQ_PICKLE_DICT && n % 2))
        return pq_pickle_bad(&m->c, "a wrong number of items");
    m->n_stack -= n;
    int rc = top(m, kind, &to);
    return rc < 0 || !n ? rc : extend(m, to, m->stack + m->n_stack, n);
}

/* Removes the last mark and says how many values lay above it. */
static int pop_mark(struct machine *m, size_t *n)
{
    if (!m->n_marks)
        return pq_pickle_bad(&m->c, "closes a group that was not opened");
    *n = available(m);
    m->n_marks--;
    return PQ_OK;
}

static int memo_put(struct machine *m, uint64_t i)
{
    void *items = m->memo;
    if (!available(m))
        return pq_pickle_bad(&m->c, "takes from an empty stack");
    if (i >= (uint64_t)(m->end - m->c.start)) /* a pickle numbers its memos, each takes a byte */
        return pq_pickle_bad(&m->c, "a memo number out of range");
    size_t old = m->n_memo, n = (size_t)i + 1;
    if (n > old) {
        if (!grow(&items, n, &m->memo_cap, sizeof *m->memo))
            return pq_pickle_oom(&m->c);
        m->memo = (value **)items;
        memset(m->memo + old, 0, (n - old) * sizeof *m->memo);
        m->n_memo = n;
    }
    m->memo[i] = m->stack[m->n_stack - 1];
    return PQ_OK;
}

static int memo_get(struct machine *m, uint64_t i)
{
    if (i >= m->n_memo || !m->memo[i])
        return pq_pickle_bad(&m->c, "a memo number out of range");
    return push(m, m->memo[i]);
}

static int op_proto(struct machine *m, unsigned arg)
{
    (void)arg;
    uint64_t v;
    int rc = take_uint(m, 1, &v);
    if (rc < 0 || (v >= 2 && v <= HIGHEST_PROTOCOL))
        return rc;
    return pq_fail(m->c.e, PQ_EUNSUPPORTED, "%s: pickle protocol %d, protocols 2 to 5 are read",
                   m->c.file, (int)v);
}

/* Passes over a value of no use here: the hint of a frame. */
static int op_skip(struct machine *m, unsigned bytes)
{
    const uint8_t *p;
    return take(m, bytes, &p);
}

static int op_stop(struct machine *m, unsigned arg)
{
    (void)arg;
    m->stopped = true;
    return PQ_OK;
}

static int op_mark(struct machine *m, unsigned arg)
{
    (void)arg;
    void *items = m->mark;
    if (!grow(&items, m->n_marks + 1, &m->mark_cap, sizeof *m->mark))
        return pq_pickle_oom(&m->c);
    m->mark = (size_t *)items;
    m->mark[m->n_marks++] = m->n_stack;
    return PQ_OK;
}

static int op_pop(struct machine *m, unsigned arg)
{
    (void)arg;
    value *v;
    return pop(m, &v);
}

/* None, an empty list, an empty dict. */
static int op_new(struct machine *m, unsigned kind)
{
    return push(m, pq_pickle_new(&m->c, (enum pq_pickle_kind)kind));
}

static int op_bool(struct machine *m, unsigned truth)
{
    return push_int(m, PQ_PICKLE_BOOL, truth);
}

/* One or two bytes are unsigned, four are signed. */
static int op_int(struct machine *m, unsigned bytes)
{
    uint64_t v;
    int rc = take_uint(m, bytes, &v);
    return rc < 0 ? rc : push_int(m, PQ_PICKLE_INT, bytes == 4 ? (int32_t)(uint32_t)v : (int64_t)v);
}

/* Two's complement of any length; numbers of more than 64 bits have no place in a checkpoint. */
static int op_long(struct machine *m, unsigned length_bytes)
{
    uint64_t n, v = 0;
    int rc = take_uint(m, length_bytes, &n);
    if (rc < 0)
        return rc;
    if (n > 8)
        return pq_pickle_bad(&m->c, "an integer of more than 64 bits");
    rc = take_uint(m, (unsigned)n, &v);
    if (n && n < 8 && v >> (8 * n - 1))
        v |= UINT64_MAX << 8 * n;
    return rc < 0 ? rc : push_int(m, PQ_PICKLE_INT, (int64_t)v);
}

/* No float matters here: they are settings beside the weights. */
static int op_float(struct machine *m, unsigned bytes)
{
    int rc = op_skip(m, bytes);
    return rc < 0 ? rc : op_new(m, PQ_PICKLE_REAL);
}

static int op_text(struct machine *m, unsigned length_bytes)
{
    uint64_t n;
    int rc = take_uint(m, length_bytes, &n);
    if (rc < 0)
        return rc;
    value *v = pq_pickle_new(&m->c, PQ_PICKLE_STR);
    if (v && (rc = take_text(m, n, &v->s)) < 0)
        return rc;
    return push(m, v);
}

static int op_tuple_n(struct machine *m, unsigned n)
{
    return push_tuple(m, n);
}

static int op_tuple(struct machine *m, unsigned arg)
{
    (void)arg;
    size_t n = 0;
    int rc = pop_mark(m, &n);
    return rc < 0 ? rc : push_tuple(m, n);
}

static int op_append(struct machine *m, unsigned arg)
{
    (void)arg;
    return put_items(m, 1, PQ_PICKLE_LIST);
}

static int op_setitem(struct machine *m, unsigned arg)
{
    (void)arg;
    return put_items(m, 2, PQ_PICKLE_DICT);
}

/* All that lies above the last mark, into a list or dict. */
static int op_put_many(struct machine *m, unsigned kind)
{
    size_t n = 0;
    int rc = pop_mark(m, &n);
    return rc < 0 ? rc : put_items(m, n, (enum pq_pickle_kind)kind);
}

static int op_memo_put(struct machine *m, unsigned bytes)
{
    uint64_t i;
    int rc = take_uint(m, bytes, &i);
    return rc < 0 ? rc : memo_put(m, i);
}

static int op_memoize(struct machine *m, unsigned arg)
{
    (void)arg;
    return memo_put(m, m->n_memo);
}

static int op_memo_get(struct machine *m, unsigned bytes)
{
    uint64_t i;
    int rc = take_uint(m, bytes, &i);
    return rc < 0 ? rc : memo_get(m, i);
}

static int push_global(struct machine *m, const char *module, const char *name)
{
    value *v = NULL;
    int rc = pq_pickle_global(&m->c, module, name, &v);
    return rc < 0 ? rc : push(m, v);
}

static int op_global(struct machine *m, unsigned arg)
{
    (void)arg;
    const char *module = NULL, *name = NULL;
    int rc = take_line(m, &module);
    if (rc >= 0)
        rc = take_line(m, &name);
    return rc < 0 ? rc : push_global(m, module, name);
}

static int op_stack_global(struct machine *m, unsigned arg)
{
    (void)arg;
    int rc = PQ_OK;
    value *module = NULL, *name = NULL;
    PQ_TRY(pop_kind(m, PQ_PICKLE_STR, &name));
    PQ_TRY(pop_kind(m, PQ_PICKLE_STR, &module));
    rc = push_global(m, module->s, name->s);
out:
    return rc;
}

static int op_reduce(struct machine *m, unsigned arg)
{
    (void)arg;
    int rc = PQ_OK;
    value *args = NULL, *fn = NULL, *v = NULL;
    PQ_TRY(pop_kind(m, PQ_PICKLE_TUPLE, &args));
    PQ_TRY(pop_kind(m, PQ_PICKLE_GLOBAL, &fn));
    PQ_TRY(pq_pickle_call(&m->c, fn, args, &v));
    rc = push(m, v);
out:
    return rc;
}

/* Attributes of an object. A state dict has one, _metadata with module versions: of no use here. */
static int op_build(struct machine *m, unsigned arg)
{
    (void)arg;
    value *state = NULL, *object = NULL;
    int rc = pop(m, &state);
    return rc < 0 ? rc : top(m, PQ_PICKLE_DICT, &object);
}

static int op_persid(struct machine *m, unsigned arg)
{
    (void)arg;
    value *id = NULL, *v = NULL;
    int rc = pop(m, &id);
    if (rc >= 0)
        rc = pq_pickle_persistent(&m->c, id, &v);
    return rc < 0 ? rc : push(m, v);
}

/* Opcodes and their names: CPython, Lib/pickle.py. */
static const struct {
    int (*run)(struct machine *m, unsigned arg);
    unsigned arg;
} ops[256] = {
    [0x80] = {op_proto, 0},                /* PROTO */
    [0x95] = {op_skip, 8},                 /* FRAME */
    ['.'] = {op_stop, 0},                  /* STOP */
    ['('] = {op_mark, 0},                  /* MARK */
    ['0'] = {op_pop, 0},                   /* POP */
    ['N'] = {op_new, PQ_PICKLE_NONE},      /* NONE */
    [0x88] = {op_bool, 1},                 /* NEWTRUE */
    [0x89] = {op_bool, 0},                 /* NEWFALSE */
    ['J'] = {op_int, 4},                   /* BININT */
    ['K'] = {op_int, 1},                   /* BININT1 */
    ['M'] = {op_int, 2},                   /* BININT2 */
    [0x8a] = {op_long, 1},                 /* LONG1 */
    ['G'] = {op_float, 8},                 /* BINFLOAT */
    [0x8c] = {op_text, 1},                 /* SHORT_BINUNICODE */
    ['X'] = {op_text, 4},                  /* BINUNICODE */
    [0x8d] = {op_text, 8},                 /* BINUNICODE8 */
    [')'] = {op_tuple_n, 0},               /* EMPTY_TUPLE */
    [0x85] = {op_tuple_n, 1},              /* TUPLE1 */
    [0x86] = {op_tuple_n, 2},              /* TUPLE2 */
    [0x87] = {op_tuple_n, 3},              /* TUPLE3 */
    ['t'] = {op_tuple, 0},                 /* TUPLE */
    [']'] = {op_new, PQ_PICKLE_LIST},      /* EMPTY_LIST */
    ['}'] = {op_new, PQ_PICKLE_DICT},      /* EMPTY_DICT */
    ['a'] = {op_append, 0},                /* APPEND */
    ['e'] = {op_put_many, PQ_PICKLE_LIST}, /* APPENDS */
    ['s'] = {op_setitem, 0},               /* SETITEM */
    ['u'] = {op_put_many, PQ_PICKLE_DICT}, /* SETITEMS */
    ['q'] = {op_memo_put, 1},              /* BINPUT */
    ['r'] = {op_memo_put, 4},              /* LONG_BINPUT */
    [0x94] = {op_memoize, 0},              /* MEMOIZE */
    ['h'] = {op_memo_get, 1},              /* BINGET */
    ['j'] = {op_memo_get, 4},              /* LONG_BINGET */
    ['c'] = {op_global, 0},                /* GLOBAL */
    [0x93] = {op_stack_global, 0},         /* STACK_GLOBAL */
    ['R'] = {op_reduce, 0},                /* REDUCE */
    ['b'] = {op_build, 0},                 /* BUILD */
    ['Q'] = {op_persid, 0},                /* BINPERSID */
};

static int step(struct machine *m)
{
    const uint8_t *p = NULL;
    int rc = take(m, 1, &p);
    if (rc < 0)
        return rc;
    if (!ops[*p].run) {
        m->c.at--;
        return pq_fail(m->c.e, PQ_EUNSUPPORTED,
                       "%s: pickle byte %zu: opcode 0x%02x, which no state dict needs", m->c.file,
                       (size_t)(m->c.at - m->c.start), *p);
    }
    return ops[*p].run(m, ops[*p].arg);
}

static int check_item(const struct pq_pickle_ctx *c, const value *key, const value *v)
{
    if (key->kind != PQ_PICKLE_STR)
        return pq_fail(c->e, PQ_EFORMAT, "%s: a tensor's name is %s, expected a str", c->file,
                       pq_pickle_kind_name(key->kind));
    if (v->kind != PQ_PICKLE_TENSOR)
        return pq_fail(c->e, PQ_EUNSUPPORTED,
                       "%s: %s is %s, expected a tensor (a training checkpoint? save "
                       "model.state_dict() alone)",
                       c->file, key->s, pq_pickle_kind_name(v->kind));
    if (v->strided)
        return pq_fail(c->e, PQ_EUNSUPPORTED,
                       "%s: tensor %s is not contiguous (a transposed or strided view); save it "
                       "after .contiguous()",
                       c->file, key->s);
    return PQ_OK;
}

/* The tensors of the dict that is left on the stack. */
static int collect(struct machine *m, struct pq_pickle *out)
{
    value *dict = NULL;
    if (m->n_marks || m->n_stack != 1)
        return pq_pickle_bad(&m->c, "ends in the middle of a value");
    int rc = top(m, PQ_PICKLE_DICT, &dict);
    if (rc < 0)
        return rc;
    out->tensor =
        (struct pq_pickle_tensor *)pq_arena_alloc(m->c.a, dict->n / 2, sizeof *out->tensor);
    if (!out->tensor)
        return pq_pickle_oom(&m->c);
    for (size_t i = 0; i < dict->n; i += 2) {
        const value *key = dict->item[i], *v = dict->item[i + 1];
        if ((rc = check_item(&m->c, key, v)) < 0)
            return rc;
        out->tensor[out->n] = *v->t;
        out->tensor[out->n++].name = key->s;
    }
    return PQ_OK;
}

int pq_pickle_state(struct pq_pickle *out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                    const char *file, struct pq_err *e)
{
    int rc = PQ_OK;
    *out = (struct pq_pickle){0};
    if (size > MAX_PICKLE)
        return pq_fail(e, PQ_EFORMAT, "%s: a pickle of %" PRIu64 " bytes, the limit is %d", file,
                       size, MAX_PICKLE);
    struct machine m = {.c = {a, file, data, data, e}, .end = data + size};
    while (!m.stopped)
        PQ_TRY(step(&m));
    rc = collect(&m, out);
out:
    pq_free(m.stack);
    pq_free(m.memo);
    pq_free(m.mark);
    return rc;
}
