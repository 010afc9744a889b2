/* The table of containers and what plans of all of them need. SPDX-License-Identifier: MIT */
#include "container/common.h"

#include <string.h>

/* The most particular probe first: an MLX folder looks like a Hugging Face folder too. */
const struct pq_container *const pq_containers[] = {&pq_container_gguf, &pq_container_mlx,
                                                    &pq_container_onnx, &pq_container_ov,
                                                    &pq_container_hf,   NULL};

const char *pq_precision_name(enum pq_precision p)
{
    static const char *const names[PQ_PRECISIONS] = {"fp32", "fp16", "bf16", "int8", "int4"};
    return p < PQ_PRECISIONS ? names[p] : "unknown";
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool pq_container_same_word(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    return lower(*a) == lower(*b);
}

const struct pq_container *pq_container_find(const char *name)
{
    for (const struct pq_container *const *c = pq_containers; *c; c++)
        if ((*c)->plan && pq_container_same_word((*c)->name, name))
            return *c;
    return NULL;
}

/* Other spellings of recipes: precisions by their long name, and llama.cpp's own short forms. */
static const char *const aliases[][2] = {
    {"fp32", "f32"},      {"fp16", "f16"},    {"float32", "f32"}, {"float16", "f16"},
    {"bfloat16", "bf16"}, {"q3_k", "q3_k_m"}, {"q4_k", "q4_k_m"}, {"q5_k", "q5_k_m"},
};

static const struct pq_recipe *find_exact(const struct pq_container *c, const char *name)
{
    for (const struct pq_recipe *r = c->recipes; r && r->name; r++)
        if (pq_container_same_word(r->name, name))
            return r;
    return NULL;
}

const struct pq_recipe *pq_recipe_find(const struct pq_container *c, const char *name)
{
    const struct pq_recipe *r = find_exact(c, name);
    for (size_t i = 0; !r && i < PQ_LEN(aliases); i++)
        if (pq_container_same_word(aliases[i][0], name))
            r = find_exact(c, aliases[i][1]);
    return r;
}

bool pq_container_glob(const char *p, const char *s)
{
    const char *star = NULL, *retry = NULL;
    while (*s) {
        if (*p == '*') {
            star = ++p;
            retry = s;
        } else if (*p == '?' || *p == *s) {
            p++, s++;
        } else if (star) { /* let the last star swallow one byte more */
            p = star;
            s = ++retry;
        } else {
            return false;
        }
    }
    while (*p == '*')
        p++;
    return !*p;
}

bool pq_container_more_bits(int layer, uint32_t n_layers)
{
    int n = (int)n_layers, eighth = n / 8;
    return layer < eighth || layer >= 7 * n / 8 || (layer - eighth) % 3 == 2;
}

void pq_container_measure(struct pq_item *it, const struct pq_tensor *t, size_t index,
                          const struct pq_scheme *s)
{
    struct pq_part part[PQ_MAX_PARTS];
    it->tensor = t;
    it->tensor_index = index;
    it->scheme = s;
    it->n_parts = s->parts(s, t->cols, part);
    for (int i = 0; i < it->n_parts; i++)
        it->bytes[i] = t->rows * pq_scheme_part_bytes(s, t->cols, i);
}

int pq_container_add_file(struct pq_plan *p, size_t capacity, const char *name, const void *data,
                          size_t size, struct pq_err *e)
{
    if (p->n_files == capacity)
        return pq_fail(e, PQ_EINVAL, "%s: more side files than the plan has room for", name);
    struct pq_out_file *f = &p->file[p->n_files++];
    f->name = name;
    pq_buf_put(&f->doc, data, size);
    f->size = size;
    return pq_buf_check(&f->doc, e);
}

int pq_container_add_json(struct pq_plan *p, size_t capacity, const char *name, json_t *j,
                          struct pq_err *e)
{
    struct pq_buf b = {0};
    int rc = j ? pq_json_print(&b, j, e) : pq_fail(e, PQ_ENOMEM, "%s: out of memory", name);
    if (rc >= 0)
        rc = pq_container_add_file(p, capacity, name, b.data, b.len, e);
    pq_buf_free(&b);
    json_decref(j);
    return rc;
}

void pq_container_note(struct pq_plan *p, const char *text)
{
    if (text && p->n_notes < (int)PQ_LEN(p->note))
        p->note[p->n_notes++] = text;
}

int pq_container_check_source(struct pq_plan *p, const struct pq_model *m, const char *runtime,
                              struct pq_err *e)
{
    const struct pq_hparams *hp = &m->net.hp;
    if (!m->has_vocab)
        return pq_fail(e, PQ_EINVAL,
                       "%s: no tokenizer was found beside the weights; %s cannot use a model "
                       "without one",
                       m->path, runtime);
    if ((uint64_t)hp->n_heads * hp->head_dim != hp->hidden)
        return pq_fail(e, PQ_EUNSUPPORTED,
                       "%s: %u heads of %u do not tile the hidden size %u, as %s assumes", m->path,
                       hp->n_heads, hp->head_dim, hp->hidden, runtime);
    if (hp->sliding_window && hp->sliding_window < hp->max_position)
        pq_container_note(
            p, pq_arena_printf(&p->arena,
                               "%s ignores this model's sliding window: exact up to %u tokens of "
                               "prompt and answer together",
                               runtime, hp->sliding_window));
    return PQ_OK;
}

void pq_plan_free(struct pq_plan *p)
{
    for (size_t i = 0; i < p->n_files; i++)
        pq_buf_free(&p->file[i].doc);
    pq_arena_free(&p->arena);
    *p = (struct pq_plan){0};
}

uint64_t pq_plan_bytes(const struct pq_plan *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->n_files; i++)
        sum += p->file[i].size;
    return sum;
}
