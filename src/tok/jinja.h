/*
 * The part of Jinja that chat templates of the Phi family use, as `transformers` sets it up
 * (trim_blocks, lstrip_blocks, loop controls, tojson without ASCII escapes). What is not known is
 * refused in words when the template is read. Private to the room. SPDX-License-Identifier: MIT
 *
 *     jinja_lex.c    source to tokens, white space of tags
 *     jinja_expr.c   tokens to expressions        jinja_parse.c  tokens to statements
 *     jinja_eval.c   expressions to values        jinja_run.c    statements to text
 *     jinja_ops.c    + == in, members, items      jinja_call.c   filters, tests, functions, methods
 *     jinja_value.c  values: truth, text, JSON
 */
#ifndef PQ_TOK_JINJA_H
#define PQ_TOK_JINJA_H

#include "base/mem.h"
#include <jansson.h>

/* ---- tokens ---- */

enum pq_jtoken_kind {
    PQ_J_END,  /* of the template */
    PQ_J_TEXT, /* between tags */
    PQ_J_VAR,  /* {{ */
    PQ_J_BLOCK,
    PQ_J_CLOSE, /* }} or %} */
    PQ_J_NAME,
    PQ_J_STRING, /* without quotes, escapes done */
    PQ_J_INT,
    PQ_J_OP
};

struct pq_jtoken {
    enum pq_jtoken_kind kind;
    int line;
    const char *s; /* not NUL-terminated */
    size_t n;
    int64_t number;
};

/* The caller pq_free()s *out, also on failure. Texts are in the arena. */
int pq_jinja_lex(const char *source, struct pq_arena *a, struct pq_jtoken **out,
                 struct pq_err *e) PQ_MUST_CHECK;

/* ---- values ---- */

enum pq_jkind {
    PQ_JV_UNDEFINED,
    PQ_JV_NONE,
    PQ_JV_BOOL,
    PQ_JV_INT,
    PQ_JV_REAL,
    PQ_JV_STR,
    PQ_JV_LIST,  /* of JSON, or of values */
    PQ_JV_MAP,   /* of JSON */
    PQ_JV_SPACE, /* namespace() */
    PQ_JV_LOOP
};

struct pq_jval {
    enum pq_jkind kind;
    size_t n; /* bytes, items */
    union {
        bool b;
        int64_t i;
        double d;
        const char *s;
        const json_t *map;
        struct pq_jspace *space;
        const struct pq_jloop *loop;
        const struct pq_jval *item;
    };
    const json_t *list; /* items from `first` on; NULL: `item` has them */
    size_t first;
    unsigned depth; /* of lists in lists, not of JSON's; bounded */
};

struct pq_jspace {
    struct pq_jbind {
        const char *name; /* NUL-terminated */
        struct pq_jval v;
    } * bind;
    size_t n, cap;
};

struct pq_jloop {
    struct pq_jval items;
    size_t at;
};

/* ---- the tree ---- */

enum pq_jnode_kind {
    /* expressions: a, b, c are operands, `list` arguments */
    PQ_JN_NAME,
    PQ_JN_CONST,
    PQ_JN_LIST,
    PQ_JN_ATTR,   /* a.name */
    PQ_JN_ITEM,   /* a[b] */
    PQ_JN_SLICE,  /* a[b:c] */
    PQ_JN_CALL,   /* a function, filter, test or method: call; a is what it is applied to */
    PQ_JN_NEG,    /* -a */
    PQ_JN_NOT,    /* not a */
    PQ_JN_AND,    /* a and b */
    PQ_JN_OR,     /* a or b */
    PQ_JN_BINARY, /* a op b */
    PQ_JN_COND,   /* a if b else c */
    PQ_JN_KWARG,  /* name=a, an argument */
    /* statements: `list` is a body */
    PQ_JN_TEXT,
    PQ_JN_PRINT, /* a */
    PQ_JN_IF,    /* if a: list, else: other */
    PQ_JN_FOR,   /* for name (, name2) in a if b: list, else: other */
    PQ_JN_SET,   /* name (.name2) = a, or the text of list */
    PQ_JN_BREAK,
    PQ_JN_CONTINUE
};

struct pq_jnode {
    enum pq_jnode_kind kind;
    int line;
    unsigned height;          /* of the tree below, which is bounded */
    const char *name, *name2; /* NUL-terminated */
    const char *op;           /* of a table */
    const struct pq_jcall *call;
    struct pq_jval value; /* of CONST and TEXT */
    struct pq_jnode *a, *b, *c, *list, *other, *next;
};

enum { PQ_JINJA_HEIGHT = 100, PQ_JINJA_LISTS = 8, PQ_JINJA_SHOWN = 40 };

struct pq_jparser {
    const struct pq_jtoken *tok; /* the next one */
    struct pq_arena *a;
    struct pq_err *e;
    unsigned depth; /* of the recursion */
    unsigned loops; /* around */
};

/* Parsers return NULL after an error. */
struct pq_jnode *pq_jinja_parse(struct pq_jparser *p); /* all statements, as a body */
struct pq_jnode *pq_jinja_expr(struct pq_jparser *p);
/* Without "x if y else z": what an if asks and what a for goes through. */
struct pq_jnode *pq_jinja_expr_or(struct pq_jparser *p);

struct pq_jnode *pq_jinja_node(struct pq_jparser *p, enum pq_jnode_kind kind, struct pq_jnode *a,
                               struct pq_jnode *b, struct pq_jnode *c);
bool pq_jinja_tall(struct pq_jparser *p, struct pq_jnode *n, const struct pq_jnode *below);
bool pq_jinja_is(const struct pq_jtoken *t, enum pq_jtoken_kind kind, const char *text);
bool pq_jinja_take(struct pq_jparser *p, enum pq_jtoken_kind kind, const char *text);
const char *pq_jinja_word(struct pq_jparser *p); /* takes a name, NULL after an error */
int pq_jinja_shown(const struct pq_jtoken *t);   /* how many of its bytes a message shows */
/* Errors in words with the line. Always NULL. */
void *pq_jinja_no_memory(struct pq_jparser *p);
__attribute__((format(printf, 2, 3))) void *pq_jinja_refuse(struct pq_jparser *p, const char *fmt,
                                                            ...);

/* ---- running ---- */

struct pq_jrun {
    struct pq_arena a;      /* values that are made */
    struct pq_jspace names; /* innermost last */
    const json_t *globals;
    struct pq_buf *out;
    struct pq_err *e;
    size_t made, steps;
    size_t scope; /* names from here on belong to the innermost loop */
    int line;
};

int pq_jinja_run(struct pq_jrun *r, const struct pq_jnode *body) PQ_MUST_CHECK;
int pq_jinja_eval(struct pq_jrun *r, const struct pq_jnode *n, struct pq_jval *out) PQ_MUST_CHECK;
/* of.name; a op b. A name that a value does not have gives nothing defined. */
int pq_jinja_member(struct pq_jrun *r, const struct pq_jval *of, const char *name,
                    struct pq_jval *out) PQ_MUST_CHECK;
int pq_jinja_item(struct pq_jrun *r, const struct pq_jval *of, const struct pq_jval *key,
                  struct pq_jval *out) PQ_MUST_CHECK;
int pq_jinja_binary(struct pq_jrun *r, const char *op, const struct pq_jval *a,
                    const struct pq_jval *b, struct pq_jval *out) PQ_MUST_CHECK;
__attribute__((format(printf, 2, 3))) int pq_jinja_fail(struct pq_jrun *r, const char *fmt, ...);

/* Counts steps; fails when there have been too many. */
int pq_jinja_step(struct pq_jrun *r, size_t n) PQ_MUST_CHECK;
/* Steps of looking for m bytes in n. */
static inline size_t pq_jinja_search(size_t n, size_t m)
{
    return n / 8 * (1 + m / 64);
}

int pq_jinja_bind(struct pq_jrun *r, struct pq_jspace *s, size_t from, const char *name,
                  struct pq_jval v) PQ_MUST_CHECK;
const struct pq_jval *pq_jinja_find(const struct pq_jspace *s, const char *name);

enum { PQ_JINJA_ARGS = 8 };

/* v[0] is what a filter, test or method is applied to; v[1] to v[n] are the arguments. */
struct pq_jargs {
    struct pq_jval v[PQ_JINJA_ARGS + 1];
    size_t n;
    const char *key[PQ_JINJA_ARGS + 1]; /* of keyword arguments, else NULL */
};
struct pq_jcall {
    const char *name;
    unsigned min, max; /* arguments */
    int (*run)(struct pq_jrun *r, const struct pq_jargs *args, struct pq_jval *out);
    const char *keys; /* " indent ": keyword arguments that it takes; "*": any */
};
extern const struct pq_jcall pq_jinja_filters[], pq_jinja_tests[], pq_jinja_functions[],
    pq_jinja_methods[]; /* ended by name NULL */

/* ---- values ---- */

struct pq_jval pq_jval_str(const char *s, size_t n);
struct pq_jval pq_jval_bool(bool b);
struct pq_jval pq_jval_int(int64_t i);
struct pq_jval pq_jval_json(const json_t *j); /* NULL: undefined */
struct pq_jval pq_jval_at(const struct pq_jval *list, size_t i);
const char *pq_jval_kind(const struct pq_jval *v); /* in words */
bool pq_jval_true(const struct pq_jval *v);
int pq_jval_equal(struct pq_jrun *r, const struct pq_jval *a, const struct pq_jval *b,
                  bool *equal) PQ_MUST_CHECK;
bool pq_jval_less(const struct pq_jval *a, const struct pq_jval *b, bool *less); /* false: cannot */
/* Python's str(), into the arena; lists and maps are refused. */
int pq_jval_text(struct pq_jrun *r, const struct pq_jval *v, struct pq_jval *out) PQ_MUST_CHECK;
/* Python's json.dumps(ensure_ascii=False); indent < 0: on one line. */
int pq_jval_dump(struct pq_jrun *r, const struct pq_jval *v, int64_t indent,
                 struct pq_jval *out) PQ_MUST_CHECK;
/* Room for a text that is made; NULL after an error, also when a template makes too much. */
char *pq_jval_room(struct pq_jrun *r, size_t n);
struct pq_jval *pq_jval_items(struct pq_jrun *r, size_t n);
void pq_jval_strip(struct pq_jval *s, bool left, bool right); /* white space, as str.strip() */

#endif
