/*
 * Plans an MLX folder: safetensors shards, their index, config.json and the tokenizer files.
 * Source of names and files: mlx_lm/utils.py (save_model, save_config) and the safetensors format.
 * SPDX-License-Identifier: MIT
 */
#include "container/common.h"

#include "wire/safetensors.h"

#include <string.h>

#define SHARD_BYTES (5ull << 30) /* mlx-lm's MAX_FILE_SIZE_GB */
#define DATA_ALIGN 64

struct layout {
    struct pq_plan *p;
    const struct pq_model *m;
    const struct pq_request *r;
    size_t n_shards, capacity; /* of p->file */
    json_t *weight_map;
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while planning an MLX folder");
}

/* "model.layers.0.mlp.down_proj.weight" -> "...down_proj.scales"; floats keep their name. */
static const char *part_name(struct pq_arena *a, const struct pq_item *it, const char *suffix)
{
    const char *name = it->tensor->name;
    if (it->scheme->family == PQ_FAM_FLOAT)
        return name;
    return pq_arena_printf(a, "%.*s%s", (int)(strlen(name) - strlen("weight")), name, suffix);
}

static int put_item(struct layout *l, struct pq_st_writer *w, struct pq_item *it, uint64_t *offset,
                    const char *file, struct pq_err *e)
{
    struct pq_part part[PQ_MAX_PARTS];
    it->scheme->parts(it->scheme, it->tensor->cols, part);
    for (int i = 0; i < it->n_parts; i++) {
        const uint64_t dim[2] = {it->tensor->rows, part[i].cols};
        const int vector = it->tensor->n_dims == 1;
        const char *name = part_name(&l->p->arena, it, part[i].suffix);
        if (!name || json_object_set_new(l->weight_map, name, json_string(file)))
            return no_memory(e);
        it->at[i] = *offset;
        *offset += it->bytes[i];
        pq_st_put(w, name, part[i].dtype, 2 - vector, dim + vector, it->at[i], *offset);
    }
    return PQ_OK;
}

static int write_shard(struct layout *l, uint32_t shard, struct pq_err *e)
{
    struct pq_plan *p = l->p;
    struct pq_out_file *f = &p->file[shard];
    struct pq_st_writer w;
    uint64_t offset = 0;
    int rc = PQ_OK;
    pq_st_begin(&w, &f->doc, "mlx");
    for (size_t i = 0; rc >= 0 && i < p->n_items; i++)
        if (p->item[i].file == shard)
            rc = put_item(l, &w, &p->item[i], &offset, f->name, e);
    if (rc < 0)
        return rc;
    pq_st_end(&w, DATA_ALIGN);
    for (size_t i = 0; i < p->n_items; i++)
        for (int k = 0; p->item[i].file == shard && k < p->item[i].n_parts; k++)
            p->item[i].at[k] += f->doc.len;
    f->size = f->doc.len + offset;
    return pq_buf_check(&f->doc, e);
}

static int add_items(struct layout *l, const struct pq_scheme *const *choice, struct pq_err *e)
{
    const struct pq_network *net = &l->m->net;
    struct pq_plan *p = l->p;
    uint64_t used = 0;
    p->item = (struct pq_item *)pq_arena_alloc(&p->arena, net->n_tensors, sizeof *p->item);
    if (!p->item)
        return no_memory(e);
    for (size_t i = 0; i < net->n_tensors; i++) {
        struct pq_item *it = &p->item[p->n_items++];
        pq_container_measure(it, &net->tensor[i], i, choice[i]);
        it->name = net->tensor[i].name;
        uint64_t bytes = 0;
        for (int k = 0; k < it->n_parts; k++)
            bytes += it->bytes[k];
        if (used && used + bytes > SHARD_BYTES) {
            l->n_shards++;
            used = 0;
        }
        it->file = (uint32_t)(l->n_shards - 1);
        used += bytes;
    }
    return PQ_OK;
}

static int write_weights(struct layout *l, struct pq_err *e)
{
    struct pq_plan *p = l->p;
    for (size_t i = 0; i < l->n_shards; i++) {
        p->file[i].name = l->n_shards == 1
                              ? "model.safetensors"
                              : pq_arena_printf(&p->arena, "model-%05zu-of-%05zu.safetensors",
                                                i + 1, l->n_shards);
        if (!p->file[i].name)
            return no_memory(e);
        p->n_files++;
        int rc = write_shard(l, (uint32_t)i, e);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

static int add_index(struct layout *l, struct pq_err *e)
{
    uint64_t total = 0;
    for (size_t i = 0; i < l->p->n_items; i++)
        for (int k = 0; k < l->p->item[i].n_parts; k++)
            total += l->p->item[i].bytes[k];
    json_t *j = json_pack("{s:{s:I, s:I}, s:O}", "metadata", "total_size", (json_int_t)total,
                          "total_parameters", (json_int_t)pq_network_weights(&l->m->net),
                          "weight_map", l->weight_map);
    return pq_container_add_json(l->p, l->capacity, "model.safetensors.index.json", j, e);
}

static int check_source(struct layout *l, struct pq_err *e)
{
    int rc = pq_container_check_source(l->p, l->m, "mlx-lm", e);
    if (rc >= 0 && l->m->net.hp.tied && l->m->net.hp.norm == PQ_NORM_LAYER)
        rc = pq_fail(e, PQ_EUNSUPPORTED, "%s: mlx-lm's phi model has no tied head", l->m->path);
    return rc < 0 ? rc : pq_mlx_check_rope(l->p, l->m, l->r, e);
}

int pq_mlx_plan(struct pq_plan *p, const struct pq_model *m, const struct pq_request *r,
                const struct pq_scheme *const *choice, struct pq_err *e)
{
    int rc = PQ_OK;
    struct layout l = {.p = p, .m = m, .r = r, .n_shards = 1, .weight_map = json_object()};
    p->container = &pq_container_mlx;
    p->dir = "mlx";
    p->whole_folder = true;
    PQ_TRY(check_source(&l, e));
    PQ_TRY(add_items(&l, choice, e));
    l.capacity = l.n_shards + m->n_sides + 5; /* config, index, generation, two for a tokenizer */
    p->file = (struct pq_out_file *)pq_arena_alloc(&p->arena, l.capacity, sizeof *p->file);
    if (!p->file)
        PQ_TRY(no_memory(e));
    PQ_TRY(write_weights(&l, e));
    PQ_TRY(add_index(&l, e));
    PQ_TRY(pq_container_add_json(l.p, l.capacity, "config.json", pq_mlx_config(m, r, choice), e));
    PQ_TRY(pq_container_add_sides(p, l.capacity, m, e));
out:
    json_decref(l.weight_map);
    return rc;
}
