/*
 * Source "mlx": folders that phiq or mlx_lm.convert wrote. A quantized module is three arrays; they
 * are bound as one, and the layout that config.json names must fit the shapes that are stored:
 * weight columns * 32 / bits = scale columns * group. SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include "wire/safetensors.h"

#include <string.h>

struct reader {
    struct pq_model *m;
    struct pq_arena *a;
    const json_t *words; /* the quantization block, or NULL */
    struct pq_shadow shadow;
    struct pq_err *e;
};

/* ---- probe ---- */

struct first_file {
    struct pq_arena a;
    const char *dir;
    char *path;
};

static int take_weights(void *ctx, const char *name, struct pq_err *e)
{
    struct first_file *f = (struct first_file *)ctx;
    size_t n = strlen(name), tail = strlen(".safetensors");
    if (strncmp(name, "model", 5) || n < tail || strcmp(name + n - tail, ".safetensors"))
        return PQ_OK;
    f->path = pq_path_join(&f->a, f->dir, name);
    return pq_fail(e, PQ_ECANCELLED, "found"); /* ends the listing */
}

/* mlx-lm signs its weights with the format "mlx". */
static bool signed_by_mlx(const char *dir)
{
    struct first_file f = {.dir = dir};
    struct pq_map map = {0};
    struct pq_st st = {0};
    (void)pq_dir_each(dir, take_weights, &f, NULL);
    bool yes = f.path && pq_map_open(&map, f.path, NULL) >= 0 &&
               pq_st_parse(&st, &f.a, map.data, map.size, f.path, NULL) >= 0 && st.format &&
               !strcmp(st.format, "mlx");
    pq_map_close(&map);
    pq_arena_free(&f.a);
    return yes;
}

static bool mlx_probe(const char *path)
{
    struct pq_arena a = {0};
    json_t *config = NULL;
    if (pq_path_kind(path) != PQ_PATH_DIR)
        return false;
    const char *file = pq_path_join(&a, path, "config.json");
    bool yes = file && pq_json_load_optional(&config, file, NULL) >= 0 && config &&
               (json_object_get(config, "quantization") || signed_by_mlx(path));
    json_decref(config);
    pq_arena_free(&a);
    return yes;
}

/* ---- one module ---- */

/* "a.b.weight" -> "a.b." + suffix among the stored arrays. */
static const struct pq_stored *sibling(struct reader *r, const char *weight, const char *suffix)
{
    const char *name =
        pq_arena_printf(r->a, "%.*s%s", (int)(strlen(weight) - strlen("weight")), weight, suffix);
    return name ? pq_ckpt_find(r->m->ckpt, name) : NULL;
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n > k && !strcmp(s + n - k, tail);
}

static int module_numbers(struct reader *r, const json_t *j, const char *module, uint64_t *bits,
                          uint64_t *group, const char **mode)
{
    int rc = PQ_OK;
    if (!json_is_object(j))
        return pq_fail(r->e, PQ_EFORMAT, "config.json: quantization: %s is not an object", module);
    PQ_TRY(pq_json_u64(j, "bits", bits, "config.json: quantization", r->e));
    PQ_TRY(pq_json_u64(j, "group_size", group, "config.json: quantization", r->e));
    PQ_TRY(pq_json_str(j, "mode", mode, "config.json: quantization", r->e));
out:
    return rc;
}

/* The scheme that config.json gives a module: its own entry over the top of the block. mlx-lm's
 * mixes leave group_size null in entries, which is the top's. */
static int module_scheme(struct reader *r, const struct pq_stored *w,
                         const struct pq_stored *scales, const struct pq_scheme **out)
{
    int rc = PQ_OK;
    uint64_t bits = 0, group = 0;
    const char *mode = "affine";
    char *module = pq_arena_strndup(r->a, w->name, strlen(w->name) - strlen(".weight"));
    if (!module)
        return pq_fail(r->e, PQ_ENOMEM, "%s: out of memory", w->file);
    PQ_TRY(module_numbers(r, r->words, "the block", &bits, &group, &mode));
    const json_t *own = json_object_get(r->words, module);
    if (own)
        PQ_TRY(module_numbers(r, own, module, &bits, &group, &mode));
    *out = pq_mlx_scheme(mode, bits, group, scales->scheme->dtype);
    if (!*out)
        rc = pq_fail(r->e, PQ_EUNSUPPORTED,
                     "%s: %s: %s, %llu bits, group %llu with %s scales is not a layout of MLX",
                     w->file, module, mode, (unsigned long long)bits, (unsigned long long)group,
                     scales->scheme->name);
out:
    return rc;
}

/* Each part has the rows of the weight, its own columns and its type. */
static int check_part(struct reader *r, const struct pq_stored *s, const struct pq_part *part,
                      uint64_t rows)
{
    bool fits = s->n_dims == 2 && s->dim[0] == rows && s->dim[1] == part->cols && s->scheme &&
                s->scheme->dtype == part->dtype;
    if (fits)
        return PQ_OK;
    return pq_fail(r->e, PQ_EFORMAT,
                   "%s: %s is %s [%llu, %llu], its quantization in config.json gives %s [%llu, "
                   "%llu]",
                   s->file, s->name, s->scheme ? pq_dtype_name(s->scheme->dtype) : "none",
                   (unsigned long long)s->dim[0],
                   (unsigned long long)(s->n_dims == 2 ? s->dim[1] : 0), pq_dtype_name(part->dtype),
                   (unsigned long long)rows, (unsigned long long)part->cols);
}

/* Checks the arrays of a quantized module and enters them as one matrix. */
static int add_quantized(struct reader *r, const struct pq_stored *w,
                         const struct pq_stored *scales)
{
    int rc = PQ_OK;
    const struct pq_scheme *s = NULL;
    struct pq_part part[PQ_MAX_PARTS];
    if (!r->words)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s has scales, but config.json has no quantization",
                       w->file, w->name);
    if (!ends_with(w->name, ".weight") || w->n_dims != 2 || scales->n_dims != 2 || !scales->scheme)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s is not a matrix with scales", w->file, w->name);
    if (scales->dim[0] != w->dim[0])
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s has %llu rows, its scales have %llu", w->file,
                       w->name, (unsigned long long)w->dim[0], (unsigned long long)scales->dim[0]);
    PQ_TRY(module_scheme(r, w, scales, &s));
    const uint64_t cols = scales->dim[1] * s->group; /* checked by ckpt: no array is that large */
    const int n = s->parts(s, cols, part);
    for (int i = 0; i < n; i++) {
        const struct pq_stored *x = sibling(r, w->name, part[i].suffix);
        if (!x)
            PQ_TRY(
                pq_fail(r->e, PQ_EFORMAT, "%s: %s lacks its %s", w->file, w->name, part[i].suffix));
        PQ_TRY(check_part(r, x, &part[i], w->dim[0]));
    }
    struct pq_stored *t = pq_shadow_add(&r->shadow);
    *t = *w;
    t->scheme = s;
    t->dim[1] = cols;
out:
    return rc;
}

/* A scale or offset array is taken with its weight. */
static bool is_accessory(struct reader *r, const struct pq_stored *s)
{
    static const char *const tails[] = {".scales", ".biases"};
    for (size_t i = 0; i < PQ_LEN(tails); i++) {
        if (!ends_with(s->name, tails[i]))
            continue;
        const char *weight = pq_arena_printf(r->a, "%.*s.weight",
                                             (int)(strlen(s->name) - strlen(tails[i])), s->name);
        return weight && pq_ckpt_find(r->m->ckpt, weight);
    }
    return false;
}

static int add_array(struct reader *r, const struct pq_stored *s)
{
    if (is_accessory(r, s))
        return PQ_OK;
    const struct pq_stored *scales =
        ends_with(s->name, ".weight") ? sibling(r, s->name, "scales") : NULL;
    if (scales)
        return add_quantized(r, s, scales);
    if (ends_with(s->name, ".weight") && s->scheme && s->scheme->dtype == PQ_U32)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s is packed but lacks its scales", s->file, s->name);
    *pq_shadow_add(&r->shadow) = *s;
    return PQ_OK;
}

/* ---- the folder ---- */

/* The parts beyond the first, which the binder knows nothing of. */
static void attach_parts(struct reader *r, struct pq_slice *slice)
{
    struct pq_part part[PQ_MAX_PARTS];
    struct pq_view *v = &slice->view;
    int n = v->scheme->parts(v->scheme, v->cols, part);
    for (int i = 1; i < n; i++)
        v->part[i] = sibling(r, slice->stored, part[i].suffix)->data;
}

static int bind(struct reader *r)
{
    int rc = PQ_OK;
    const struct pq_ckpt *c = r->m->ckpt;
    PQ_TRY(pq_shadow_init(&r->shadow, r->m, c->n_tensors, r->a, r->e));
    for (size_t i = 0; i < c->n_tensors; i++)
        PQ_TRY(add_array(r, &c->tensor[i]));
    PQ_TRY(pq_shadow_sort(&r->shadow, r->e));
    PQ_TRY(
        pq_network_bind(&r->m->net, r->a, &r->shadow.ckpt, r->m->config, r->m->generation, r->e));
    for (size_t i = 0; i < r->m->net.n_tensors; i++)
        for (int k = 0; k < r->m->net.tensor[i].n_slices; k++)
            attach_parts(r, &r->m->net.tensor[i].slice[k]);
out:
    return rc;
}

static int mlx_read(struct pq_model *m, struct pq_err *e)
{
    int rc = PQ_OK;
    json_t *words = NULL;
    struct reader r = {.m = m, .a = &m->arena, .e = e};
    PQ_TRY(pq_container_read_configs(m, e));
    words = json_incref(json_object_get(m->config, "quantization"));
    json_object_del(m->config, "quantization");
    if (words)
        json_object_del(m->config, "quantization_config");
    r.words = words;
    m->name = pq_container_model_name(&m->arena, m->path, m->config);
    if (!m->name)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path));
    PQ_TRY(pq_ckpt_open(&m->ckpt, m->path, e));
    PQ_TRY(bind(&r));
    PQ_TRY(pq_container_read_vocab(m, m->path, e));
    PQ_TRY(pq_container_read_sides(m, m->path, e));
out:
    json_decref(words);
    return rc;
}

static bool mlx_holds(const struct pq_scheme *s)
{
    if (s->encoder == PQ_ENC_NONE)
        return false;
    return s->family == PQ_FAM_AFFINE || s->family == PQ_FAM_FP || s->family == PQ_FAM_FLOAT;
}

const struct pq_container pq_container_mlx = {
    .name = "mlx",
    .about = "a folder for mlx-lm",
    .probe = mlx_probe,
    .read = mlx_read,
    .holds = mlx_holds,
    .recipes = pq_mlx_recipes,
    .usual = {[PQ_FP32] = "f32",
              [PQ_FP16] = "f16",
              [PQ_PBF16] = "bf16",
              [PQ_INT8] = "affine8g64",
              [PQ_INT4] = "affine4g64"},
    .place = pq_mlx_place,
    .fit = pq_mlx_fit,
    .plan = pq_mlx_plan,
};
