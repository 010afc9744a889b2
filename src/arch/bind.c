/* From stored arrays to a network: every tensor of the map found once, with the shape that the
 * hyperparameters give, and nothing left over. SPDX-License-Identifier: MIT */
#include "arch/config.h"
#include "base/num.h"

#include <stdio.h>
#include <stdlib.h>

struct binder {
    struct pq_network *net;
    struct pq_arena *a;
    const struct pq_ckpt *c;
    bool *used; /* [c->n_tensors] */
    struct pq_err *e;
};

static char *layer_name(struct pq_arena *a, const char *pattern, int layer)
{
    const char *mark = strstr(pattern, "%d");
    if (!mark)
        return pq_arena_strdup(a, pattern);
    return pq_arena_printf(a, "%.*s%d%s", (int)(mark - pattern), pattern, layer, mark + 2);
}

static const struct pq_stored *take(struct binder *b, const char *name)
{
    const struct pq_stored *s = pq_ckpt_find(b->c, name);
    if (s)
        b->used[s - b->c->tensor] = true;
    return s;
}

static void print_shape(char *out, size_t size, int n_dims, const uint64_t *dim)
{
    size_t n = 0;
    out[0] = 0;
    for (int i = 0; i < n_dims && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%llu", i ? ", " : "",
                              (unsigned long long)dim[i]);
}

static int wrong_shape(struct binder *b, const struct pq_tensor *t, const struct pq_stored *s,
                       uint64_t rows)
{
    char found[200], want[64];
    print_shape(found, sizeof found, s->n_dims, s->dim);
    const uint64_t dim[2] = {t->n_dims == 1 ? t->cols : rows, t->cols};
    print_shape(want, sizeof want, t->n_dims, dim);
    return pq_fail(b->e, PQ_EFORMAT, "%s: %s has shape [%s], config.json gives [%s]", s->file,
                   s->name, found, want);
}

/* Weights are floats or blocks of a scheme; an integer array has lost its scales. */
static int check_type(struct binder *b, const struct pq_stored *s)
{
    static const bool is_float[PQ_DTYPES] = {
        [PQ_F32] = true, [PQ_F16] = true, [PQ_BF16] = true, [PQ_F64] = true};
    if (s->scheme && (s->scheme->family != PQ_FAM_FLOAT || is_float[s->scheme->dtype]))
        return PQ_OK;
    return pq_fail(b->e, PQ_EUNSUPPORTED, "%s: %s is stored as %s, expected a float type", s->file,
                   s->name, s->scheme ? s->scheme->name : "an unknown type");
}

/* Appends the stored array as the next `rows` rows of t. */
static int add_slice(struct binder *b, struct pq_tensor *t, const struct pq_stored *s,
                     uint64_t rows)
{
    bool fits = s->n_dims == t->n_dims && s->dim[t->n_dims - 1] == t->cols &&
                (t->n_dims == 1 || s->dim[0] == rows);
    if (!fits)
        return wrong_shape(b, t, s, rows);
    int rc = check_type(b, s);
    if (rc < 0)
        return rc;
    t->slice[t->n_slices++] = (struct pq_slice){
        .view = {.scheme = s->scheme, .part = {s->data}, .rows = rows, .cols = t->cols},
        .rows = rows,
        .file = s->file,
        .stored = s->name,
    };
    return PQ_OK;
}

/* Rows of the i-th of the arrays that stacked give a fused tensor. */
static uint64_t stacked_rows(const struct pq_tensor *t, const struct pq_hparams *hp, int i)
{
    if (t->role == PQ_ROLE_FFN_GATE_UP)
        return hp->ff;
    return (uint64_t)(i == 0 ? hp->n_heads : hp->n_kv_heads) * hp->head_dim;
}

static int missing(struct binder *b, const struct pq_tensor *t)
{
    return pq_fail(b->e, PQ_EFORMAT, "%s: tensor %s is missing", pq_path_base(b->c->path), t->name);
}

static int bind_stacked(struct binder *b, struct pq_tensor *t, const struct pq_map_row *row)
{
    for (int i = 0; row->stacked && row->stacked[i]; i++) {
        char *name = layer_name(b->a, row->stacked[i], t->layer);
        if (!name)
            return pq_fail(b->e, PQ_ENOMEM, "out of memory");
        const struct pq_stored *s = take(b, name);
        if (!s && i == 0)
            break; /* neither form: name the published one */
        if (!s)
            return pq_fail(b->e, PQ_EFORMAT, "%s: tensor %s is missing beside %s",
                           pq_path_base(b->c->path), name, t->slice[0].stored);
        int rc = add_slice(b, t, s, stacked_rows(t, &b->net->hp, i));
        if (rc < 0)
            return rc;
    }
    return t->n_slices ? PQ_OK : missing(b, t);
}

static int bind_one(struct binder *b, const struct pq_map_row *row, int layer)
{
    struct pq_tensor *t = &b->net->tensor[b->net->n_tensors];
    t->name = layer_name(b->a, row->name, layer);
    if (!t->name)
        return pq_fail(b->e, PQ_ENOMEM, "out of memory");
    t->role = row->role;
    t->layer = layer;
    pq_role_shape(row->role, &b->net->hp, &t->rows, &t->cols, &t->n_dims);
    const struct pq_stored *s = take(b, t->name);
    int rc = s ? add_slice(b, t, s, t->rows) : bind_stacked(b, t, row);
    if (rc == PQ_OK)
        b->net->n_tensors++;
    return rc;
}

/* The head of a tied network is the embedding; a redundant copy in the file is passed over. */
static int skip_tied_head(struct binder *b, const struct pq_map_row *row)
{
    const struct pq_stored *s = take(b, row->name);
    if (!s)
        return PQ_OK;
    struct pq_tensor shape = {.name = row->name};
    pq_role_shape(row->role, &b->net->hp, &shape.rows, &shape.cols, &shape.n_dims);
    bool fits = s->n_dims == 2 && s->dim[0] == shape.rows && s->dim[1] == shape.cols;
    return fits ? PQ_OK : wrong_shape(b, &shape, s, shape.rows);
}

static int bind_row(struct binder *b, const struct pq_map_row *row, int layer)
{
    if (row->role == PQ_ROLE_HEAD && b->net->hp.tied)
        return skip_tied_head(b, row);
    return bind_one(b, row, layer);
}

/* The rows that repeat lie together in the map: they are taken layer by layer. */
static int bind_map(struct binder *b, const struct pq_map_row *row)
{
    int rc = PQ_OK;
    while (row->name && rc == PQ_OK) {
        if (!row->per_layer) {
            rc = bind_row(b, row++, -1);
            continue;
        }
        const struct pq_map_row *first = row;
        for (int layer = 0; layer < (int)b->net->hp.n_layers && rc == PQ_OK; layer++)
            for (row = first; row->per_layer && rc == PQ_OK; row++)
                rc = bind_row(b, row, layer);
    }
    return rc;
}

static size_t count_map(const struct pq_map_row *row, uint32_t n_layers)
{
    size_t n = 0;
    for (; row->name; row++)
        n += row->per_layer ? n_layers : 1;
    return n;
}

/* Buffers that old checkpoints carry and that config.json already says. */
static bool is_buffer(const char *name)
{
    static const char *const tails[] = {".inv_freq", ".original_inv_freq", ".long_inv_freq"};
    size_t len = strlen(name);
    for (size_t i = 0; i < PQ_LEN(tails); i++) {
        size_t n = strlen(tails[i]);
        if (len > n && !strcmp(name + len - n, tails[i]))
            return true;
    }
    return false;
}

static int extra(struct binder *b, const struct pq_stored *s)
{
    static const char layers[] = "model.layers.";
    const struct pq_network *net = b->net;
    if (!strncmp(s->name, layers, sizeof layers - 1)) {
        unsigned long layer = strtoul(s->name + sizeof layers - 1, NULL, 10);
        if (layer >= net->hp.n_layers)
            return pq_fail(b->e, PQ_EFORMAT,
                           "%s: %s belongs to layer %lu, config.json has num_hidden_layers %u",
                           s->file, s->name, layer, net->hp.n_layers);
    }
    if (strstr(s->name, ".lora_"))
        return pq_fail(b->e, PQ_EUNSUPPORTED, "%s: %s is a LoRA adapter; merge it into the weights",
                       s->file, s->name);
    return pq_fail(b->e, PQ_EFORMAT, "%s: %s is not a tensor of %s", s->file, s->name,
                   net->arch->classes[0]);
}

static int check_leftovers(struct binder *b)
{
    for (size_t i = 0; i < b->c->n_tensors; i++)
        if (!b->used[i] && !is_buffer(b->c->tensor[i].name))
            return extra(b, &b->c->tensor[i]);
    return PQ_OK;
}

/* Without torch_dtype the embedding tells. */
static const char *dtype_of(const struct pq_scheme *s)
{
    return s->dtype == PQ_F32 ? "float32" : s->dtype == PQ_F16 ? "float16" : "bfloat16";
}

static int read_config(struct pq_network *net, struct pq_arena *a, const json_t *config,
                       const json_t *generation, struct pq_err *e)
{
    int rc;
    PQ_TRY(pq_arch_find(&net->arch, config, e));
    PQ_TRY(net->arch->configure(&net->hp, config, a, e));
    if (generation && !json_is_object(generation))
        return pq_fail(e, PQ_EFORMAT, "%s: not an object", PQ_GENERATION_FILE);
    if (generation)
        PQ_TRY(pq_config_ids(&net->hp, generation, PQ_GENERATION_FILE, e));
out:
    return rc;
}

int pq_network_bind(struct pq_network *net, struct pq_arena *a, const struct pq_ckpt *c,
                    const json_t *config, const json_t *generation, struct pq_err *e)
{
    *net = (struct pq_network){0};
    int rc = read_config(net, a, config, generation, e);
    if (rc < 0)
        return rc;
    size_t n = count_map(net->arch->map, net->hp.n_layers);
    net->tensor = (struct pq_tensor *)pq_arena_alloc(a, n, sizeof *net->tensor);
    bool *used = (bool *)pq_arena_alloc(a, c->n_tensors, sizeof *used);
    if (!net->tensor || !used)
        return pq_fail(e, PQ_ENOMEM, "out of memory");
    struct binder b = {.net = net, .a = a, .c = c, .used = used, .e = e};
    PQ_TRY(bind_map(&b, net->arch->map));
    PQ_TRY(check_leftovers(&b));
    if (!net->hp.dtype)
        net->hp.dtype = dtype_of(net->tensor[0].slice[0].view.scheme);
out:
    return rc;
}
