/*
 * Source "gguf": a file (or the first of a split set) of architecture phi3 or phi2, as phiq and
 * llama.cpp's converter write them. Metadata becomes a config.json and stored names become those of
 * the checkpoint, so that one set of checks serves every source. SPDX-License-Identifier: MIT
 */
#include "container/gguf_reader.h"

#include <string.h>

/* ---- stored names -> names of the checkpoint ---- */

/* Rows (or, of a vector, elements) [from, from + n) of s under another name. */
static int add_piece(struct pq_gguf_reader *r, const struct pq_stored *s, const char *name,
                     uint64_t from, uint64_t n)
{
    struct pq_stored *t = pq_shadow_add(&r->shadow);
    if (!t || !name)
        return pq_gguf_reader_no_memory(r);
    uint64_t unit = s->dim[0] ? s->bytes / s->dim[0] : 0;
    if (n != s->dim[0] && unit * s->dim[0] != s->bytes)
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s cannot be cut at %llu", r->file, s->name,
                       (unsigned long long)from);
    *t = *s;
    t->name = name;
    t->dim[0] = n;
    t->data = s->data + from * unit;
    t->bytes = n * unit;
    return PQ_OK;
}

static char *layer_name(struct pq_arena *a, const char *form, int layer)
{
    const char *hole = strstr(form, "%d");
    return hole ? pq_arena_printf(a, "%.*s%d%s", (int)(hole - form), form, layer, hole + 2)
                : pq_arena_strdup(a, form);
}

static const struct pq_map_row *row_of(const struct pq_arch *arch, enum pq_role role)
{
    for (const struct pq_map_row *row = arch->map; row->name; row++)
        if (row->role == role)
            return row;
    return NULL;
}

/* A fused attn_qkv array where the checkpoint has q, k and v, as the converter's --fuse-qkv makes
 * it; `role` is that of q, k and v follow at a distance of two. */
static int add_unfused(struct pq_gguf_reader *r, const struct pq_arch *arch,
                       const struct pq_stored *s, enum pq_role role, int layer)
{
    int rc = PQ_OK;
    uint32_t heads = 0, kv = 0, hidden = 0;
    PQ_TRY(pq_gguf_reader_u32(r, "attention.head_count", true, &heads));
    kv = heads;
    PQ_TRY(pq_gguf_reader_u32(r, "attention.head_count_kv", false, &kv));
    PQ_TRY(pq_gguf_reader_u32(r, "embedding_length", true, &hidden));
    const uint64_t dim = hidden / heads, rows[3] = {heads * dim, kv * dim, kv * dim};
    if (s->dim[0] != rows[0] + rows[1] + rows[2])
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s has %llu rows, expected %llu", r->file, s->name,
                       (unsigned long long)s->dim[0],
                       (unsigned long long)(rows[0] + rows[1] + rows[2]));
    uint64_t from = 0;
    for (int i = 0; i < 3; from += rows[i++]) {
        const struct pq_map_row *row = row_of(arch, (enum pq_role)(role + 2 * i));
        PQ_TRY(add_piece(r, s, layer_name(&r->m->arena, row->name, layer), from, rows[i]));
    }
out:
    return rc;
}

/* "blk.12." -> 12 and the rest; -1 and the whole name otherwise. Larger numbers than any network
 * has are left for the binder to refuse as unknown names. */
static int split_layer(const char *name, const char **rest)
{
    int layer = 0;
    *rest = name;
    if (strncmp(name, "blk.", 4) || name[4] < '0' || name[4] > '9')
        return -1;
    const char *s = name + 4;
    for (; *s >= '0' && *s <= '9' && layer < 100000; s++)
        layer = 10 * layer + (*s - '0');
    if (*s != '.')
        return -1;
    *rest = s + 1;
    return layer;
}

/* Pieces that llama.cpp's loaders accept in place of the usual ones. */
static const struct {
    const char *stored; /* after "blk.N." */
    const char *name;   /* phi3: stacked pieces of the checkpoint */
    enum pq_role fused; /* phi2: the first of three roles that a fused array holds */
} variants[] = {
    {"attn_q.weight", "model.layers.%d.self_attn.q_proj.weight", PQ_ROLES},
    {"attn_k.weight", "model.layers.%d.self_attn.k_proj.weight", PQ_ROLES},
    {"attn_v.weight", "model.layers.%d.self_attn.v_proj.weight", PQ_ROLES},
    {"attn_qkv.weight", NULL, PQ_ROLE_ATTN_Q},
    {"attn_qkv.bias", NULL, PQ_ROLE_ATTN_Q_BIAS},
};

static int add_tensor(struct pq_gguf_reader *r, const struct pq_arch *arch,
                      const struct pq_stored *s)
{
    const char *rest;
    const int layer = split_layer(s->name, &rest);
    for (const struct pq_map_row *row = arch->map; row->name; row++) {
        const char *name = pq_gguf_tensor_name(&r->m->arena, row->role, layer);
        if (!name)
            return pq_gguf_reader_no_memory(r);
        if (row->per_layer == (layer >= 0) && !strcmp(name, s->name))
            return add_piece(r, s, layer_name(&r->m->arena, row->name, layer), 0, s->dim[0]);
    }
    for (size_t i = 0; layer >= 0 && i < PQ_LEN(variants); i++) {
        if (strcmp(rest, variants[i].stored))
            continue;
        if (variants[i].name)
            return add_piece(r, s, layer_name(&r->m->arena, variants[i].name, layer), 0, s->dim[0]);
        if (row_of(arch, variants[i].fused))
            return add_unfused(r, arch, s, variants[i].fused, layer);
    }
    return pq_fail(r->e, PQ_EFORMAT, "%s: %s is not a tensor of architecture %s", r->file, s->name,
                   r->arch);
}

/* One tensor that the network needs, under its checkpoint name or as stacked pieces. */
static int check_there(struct pq_gguf_reader *r, const struct pq_map_row *row, int layer)
{
    const char *name = layer_name(&r->m->arena, row->name, layer);
    const char *piece = row->stacked ? layer_name(&r->m->arena, row->stacked[0], layer) : name;
    const char *own = pq_gguf_tensor_name(&r->m->arena, row->role, layer);
    if (!name || !piece || !own)
        return pq_gguf_reader_no_memory(r);
    if (pq_ckpt_find(&r->shadow.ckpt, name) || pq_ckpt_find(&r->shadow.ckpt, piece))
        return PQ_OK;
    return pq_fail(r->e, PQ_EFORMAT, "%s: tensor %s is missing", r->file, own);
}

/* Missing tensors in the file's own words; the binder knows the checkpoint's names only. */
static int check_complete(struct pq_gguf_reader *r, const struct pq_arch *arch)
{
    uint32_t layers = 0;
    int rc = pq_gguf_reader_u32(r, "block_count", true, &layers);
    const bool tied = !pq_ckpt_find(r->m->ckpt, "output.weight");
    for (const struct pq_map_row *row = arch->map; rc >= 0 && row->name; row++) {
        if (row->role == PQ_ROLE_HEAD && tied)
            continue;
        for (uint32_t i = 0; rc >= 0 && i < (row->per_layer ? layers : 1); i++)
            rc = check_there(r, row, row->per_layer ? (int)i : -1);
    }
    return rc;
}

static int bind(struct pq_gguf_reader *r)
{
    int rc = PQ_OK;
    const struct pq_ckpt *c = r->m->ckpt;
    const struct pq_arch *arch = NULL;
    PQ_TRY(pq_arch_find(&arch, r->m->config, r->e));
    PQ_TRY(pq_shadow_init(&r->shadow, r->m, 3 * c->n_tensors, &r->m->arena, r->e));
    for (size_t i = 0; i < c->n_tensors; i++) {
        const char *name = c->tensor[i].name;
        if (strcmp(name, PQ_GGUF_ROPE_LONG) && strcmp(name, PQ_GGUF_ROPE_SHORT))
            PQ_TRY(add_tensor(r, arch, &c->tensor[i]));
    }
    PQ_TRY(pq_shadow_sort(&r->shadow, r->e));
    PQ_TRY(check_complete(r, arch));
    rc = pq_network_bind(&r->m->net, &r->m->arena, &r->shadow.ckpt, r->m->config, r->m->generation,
                         r->e);
    if (rc < 0)
        rc = pq_fail_in(r->e, rc, "%s, as a checkpoint", r->file);
out:
    return rc;
}

/* The factor that the file gives wins over the rule, as in llama.cpp; equal to float32 is equal. */
static int settle_attn_factor(struct pq_gguf_reader *r)
{
    struct pq_hparams *hp = &r->m->net.hp;
    double v = hp->attn_factor;
    int rc = pq_gguf_reader_f64(r, "rope.scaling.attn_factor", false, &v);
    if (rc < 0 || hp->rope != PQ_ROPE_LONGROPE || (float)v == (float)hp->attn_factor)
        return rc;
    if (!(v > 0 && v < 1e3))
        return pq_fail(r->e, PQ_EFORMAT, "%s: %s.rope.scaling.attn_factor is %g", r->file, r->arch,
                       v);
    hp->attn_factor = v;
    json_object_set_new(json_object_get(r->m->config, "rope_scaling"), "attention_factor",
                        json_real(v));
    return PQ_OK;
}

/* ---- paths ---- */

struct listing {
    struct pq_arena *a;
    const char *first; /* the only model of the folder so far */
    int n;
};

/* Shards after the first belong to it. */
static bool later_shard(const char *name)
{
    const char *of = strstr(name, "-of-");
    return of && of - name >= 6 && of[-6] == '-' && memcmp(of - 5, "00001", 5);
}

static int list_one(void *ctx, const char *name, struct pq_err *e)
{
    struct listing *l = (struct listing *)ctx;
    size_t n = strlen(name);
    if (n < 6 || strcmp(name + n - 5, ".gguf") || name[0] == '.' || later_shard(name))
        return PQ_OK;
    if (!l->n++)
        l->first = pq_arena_strdup(l->a, name);
    return l->n > 1 || l->first ? PQ_OK : pq_fail(e, PQ_ENOMEM, "%s: out of memory", name);
}

static bool has_magic(const char *path)
{
    struct pq_map map;
    if (pq_map_open(&map, path, NULL) < 0)
        return false;
    bool yes = map.size >= 4 && !memcmp(map.data, "GGUF", 4);
    pq_map_close(&map);
    return yes;
}

static bool gguf_probe(const char *path)
{
    struct pq_arena a = {0};
    struct listing l = {.a = &a};
    enum pq_path_kind kind = pq_path_kind(path);
    bool yes = kind == PQ_PATH_FILE && has_magic(path);
    if (kind == PQ_PATH_DIR)
        yes = pq_dir_each(path, list_one, &l, NULL) >= 0 && l.n > 0;
    pq_arena_free(&a);
    return yes;
}

/* A folder stands for the one model in it. */
static int find_file(struct pq_model *m, struct pq_err *e)
{
    struct listing l = {.a = &m->arena};
    if (pq_path_kind(m->path) != PQ_PATH_DIR)
        return PQ_OK;
    int rc = pq_dir_each(m->path, list_one, &l, e);
    if (rc < 0)
        return rc;
    if (l.n != 1)
        return pq_fail(e, PQ_EINVAL, "%s: %d GGUF models lie here; name one, for example %s",
                       m->path, l.n, l.first ? l.first : "none");
    m->path = pq_path_join(&m->arena, m->path, l.first);
    return m->path ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory");
}

/* general.name is for people; the file's name without its scheme would be a guess. */
static int read_name(struct pq_gguf_reader *r)
{
    struct pq_gguf_str s;
    if (pq_gguf_get_str(r->g, "general.name", &s) && s.len && s.len < 256)
        r->m->name = pq_arena_strndup(&r->m->arena, s.s, (size_t)s.len);
    else
        r->m->name = pq_arena_strdup(&r->m->arena, r->file);
    return r->m->name ? PQ_OK : pq_gguf_reader_no_memory(r);
}

static int gguf_read(struct pq_model *m, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(find_file(m, e));
    PQ_TRY(pq_ckpt_open(&m->ckpt, m->path, e));
    struct pq_gguf_reader r = {.m = m, .g = m->ckpt->gguf, .file = pq_path_base(m->path), .e = e};
    if (!r.g)
        return pq_fail(e, PQ_EFORMAT, "%s: not a GGUF file", r.file);
    PQ_TRY(read_name(&r));
    m->has_vocab = pq_gguf_find(r.g, "tokenizer.ggml.tokens") != NULL;
    if (m->has_vocab)
        PQ_TRY(pq_vocab_from_gguf(&m->vocab, &m->arena, r.g, r.file, e));
    else
        m->vocab = (struct pq_vocab){.bos = -1, .eos = -1, .unk = -1, .pad = -1};
    PQ_TRY(pq_gguf_read_config(&r));
    PQ_TRY(bind(&r));
    PQ_TRY(settle_attn_factor(&r));
out:
    return rc;
}

static bool gguf_holds(const struct pq_scheme *s)
{
    return s->ggml_type != PQ_NO_GGML_TYPE && s->encoder != PQ_ENC_NONE;
}

const struct pq_container pq_container_gguf = {
    .name = "gguf",
    .about = "one file for llama.cpp and its relatives",
    .probe = gguf_probe,
    .read = gguf_read,
    .holds = gguf_holds,
    .recipes = pq_gguf_recipes,
    .usual = {[PQ_FP32] = "f32",
              [PQ_FP16] = "f16",
              [PQ_PBF16] = "bf16",
              [PQ_INT8] = "q8_0",
              [PQ_INT4] = "q4_k_m"},
    .place = pq_gguf_place,
    .fit = pq_gguf_fit,
    .plan = pq_gguf_plan,
};
