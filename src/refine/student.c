/* A student's memory: parameters from a model's tensors, layers by role.
 * SPDX-License-Identifier: MIT */
#include "refine/student.h"

#include "base/num.h"
#include "infer/state.h"

/* ---- parameters ---- */

static struct pq_param *find(const struct pq_student *s, enum pq_role role, int layer)
{
    const struct pq_network *net = &s->model->net;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (net->tensor[i].role == role && net->tensor[i].layer == layer)
            return &s->param[i];
    return NULL;
}

static int make_params(struct pq_student *s, const struct pq_model *source, struct pq_err *e)
{
    const struct pq_network *net = &s->model->net;
    s->param = (struct pq_param *)pq_arena_alloc(&s->arena, net->n_tensors, sizeof *s->param);
    if (!s->param)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", s->model->path);
    for (size_t i = 0; i < net->n_tensors; i++) {
        const struct pq_tensor *t = &net->tensor[i];
        const struct pq_tensor *other = pq_network_find(&source->net, t->name);
        if (!other || other->rows != t->rows || other->cols != t->cols)
            return pq_fail(e, PQ_EINVAL, "%s: no tensor %s of %llu x %llu weights as in %s",
                           source->path, t->name, (unsigned long long)t->rows,
                           (unsigned long long)t->cols, s->model->path);
        s->param[i].t = t;
        int rc = pq_param_begin(&s->param[i], s, other, e);
        if (rc < 0)
            return rc;
    }
    return PQ_OK;
}

/* ---- layers ---- */

static void bind_layer(struct pq_student *s, struct pq_student_layer *l, int i)
{
    static const enum pq_role apart[][2] = {{PQ_ROLE_ATTN_Q, PQ_ROLE_ATTN_Q_BIAS},
                                            {PQ_ROLE_ATTN_K, PQ_ROLE_ATTN_K_BIAS},
                                            {PQ_ROLE_ATTN_V, PQ_ROLE_ATTN_V_BIAS}};
    l->norm = find(s, PQ_ROLE_ATTN_NORM, i);
    l->norm_bias = find(s, PQ_ROLE_ATTN_NORM_BIAS, i);
    l->ffn_norm = find(s, PQ_ROLE_FFN_NORM, i);
    l->qkv[0] = find(s, PQ_ROLE_ATTN_QKV, i);
    l->n_qkv = l->qkv[0] ? 1 : PQ_LEN(apart);
    for (int k = 0; k < l->n_qkv && !(l->n_qkv == 1); k++) {
        l->qkv[k] = find(s, apart[k][0], i);
        l->qkv_bias[k] = find(s, apart[k][1], i);
    }
    l->out = find(s, PQ_ROLE_ATTN_OUT, i);
    l->out_bias = find(s, PQ_ROLE_ATTN_OUT_BIAS, i);
    l->up = find(s, PQ_ROLE_FFN_GATE_UP, i);
    if (!l->up)
        l->up = find(s, PQ_ROLE_FFN_UP, i);
    l->up_bias = find(s, PQ_ROLE_FFN_UP_BIAS, i);
    l->down = find(s, PQ_ROLE_FFN_DOWN, i);
    l->down_bias = find(s, PQ_ROLE_FFN_DOWN_BIAS, i);
}

static int bind(struct pq_student *s, struct pq_err *e)
{
    s->layer =
        (struct pq_student_layer *)pq_arena_alloc(&s->arena, s->hp->n_layers, sizeof *s->layer);
    if (!s->layer)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", s->model->path);
    for (int i = 0; i < (int)s->hp->n_layers; i++)
        bind_layer(s, &s->layer[i], i);
    s->embed = find(s, PQ_ROLE_EMBED, -1);
    s->final_norm = find(s, PQ_ROLE_FINAL_NORM, -1);
    s->final_bias = find(s, PQ_ROLE_FINAL_NORM_BIAS, -1);
    s->head = find(s, PQ_ROLE_HEAD, -1);
    s->head_bias = find(s, PQ_ROLE_HEAD_BIAS, -1);
    if (!s->head)
        s->head = s->embed;
    return PQ_OK;
}

/* ---- memory of a batch ---- */

static float *floats(struct pq_student *s, uint64_t n, uint64_t m, bool *failed)
{
    uint64_t all;
    void *p = NULL;
    if (pq_mul_u64(n, m, &all) && all <= SIZE_MAX)
        p = pq_arena_alloc(&s->arena, (size_t)all, sizeof(float));
    *failed |= !p;
    return (float *)p;
}

static bool make_tape(struct pq_student *s)
{
    const struct pq_hparams *hp = s->hp;
    const uint64_t n = s->tokens, wide = (uint64_t)hp->n_heads * hp->head_dim;
    bool failed = false;
    s->tape = (struct pq_layer_tape *)pq_arena_alloc(&s->arena, hp->n_layers, sizeof *s->tape);
    for (uint32_t i = 0; s->tape && i < hp->n_layers && !failed; i++) {
        struct pq_layer_tape *t = &s->tape[i];
        t->h = floats(s, n, hp->hidden, &failed);
        t->x = floats(s, n, hp->hidden, &failed);
        t->qkv = floats(s, n, s->qkv_step, &failed);
        t->att = floats(s, n, wide, &failed);
        t->mid = hp->parallel ? t->h : floats(s, n, hp->hidden, &failed);
        t->x2 = hp->parallel ? t->x : floats(s, n, hp->hidden, &failed);
        t->up = floats(s, n, s->up_step, &failed);
        t->act = floats(s, n, hp->ff, &failed);
    }
    return s->tape && !failed;
}

static uint64_t largest(const struct pq_student *s, bool rows)
{
    uint64_t most = 0;
    for (size_t i = 0; i < s->model->net.n_tensors; i++) {
        const struct pq_tensor *t = &s->model->net.tensor[i];
        const bool of_layer = t->layer >= 0 && pq_role_is_matrix(t->role);
        const uint64_t n = rows ? t->rows : t->cols;
        most = of_layer && n > most ? n : most;
    }
    return most;
}

static bool make_back(struct pq_student *s)
{
    const struct pq_hparams *hp = s->hp;
    const uint64_t n = s->tokens, wide = (uint64_t)hp->n_heads * hp->head_dim;
    const uint64_t rows = largest(s, true), cols = largest(s, false);
    const uint64_t head = (uint64_t)hp->vocab * (hp->hidden > s->size ? hp->hidden : s->size);
    const uint64_t of_weight = rows * cols > head ? rows * cols : head;
    bool failed = false;
    s->d_h = floats(s, n, hp->hidden, &failed);
    s->d_x = floats(s, n, hp->hidden, &failed);
    s->d_qkv = floats(s, n, s->qkv_step, &failed);
    s->d_att = floats(s, n, wide, &failed);
    s->d_up = floats(s, n, s->up_step, &failed);
    s->d_act = floats(s, n, hp->ff, &failed);
    s->turned[0] = floats(s, of_weight, 1, &failed);
    s->turned[1] = floats(s, n, cols, &failed);
    s->turned[2] = floats(s, n * rows > head ? n * rows : head, 1, &failed);
    s->stats = floats(s, n, 2, &failed);
    s->attention = floats(s, (uint64_t)pq_pool_threads(s->math.pool), pq_attend_floats(s), &failed);
    return !failed;
}

static int memory(struct pq_student *s, struct pq_err *e)
{
    const struct pq_hparams *hp = s->hp;
    bool failed = false;
    s->tokens = (uint64_t)s->size * s->windows;
    s->qkv_step = ((uint64_t)hp->n_heads + 2ull * hp->n_kv_heads) * hp->head_dim;
    s->up_step = hp->ff * (hp->act == PQ_ACT_SILU ? 2ull : 1ull);
    s->turn = floats(s, s->size, hp->rot_dims, &failed);
    s->h = floats(s, s->tokens, hp->hidden, &failed);
    s->x = floats(s, s->tokens, hp->hidden, &failed);
    return !failed && make_tape(s) && make_back(s)
               ? PQ_OK
               : pq_fail(e, PQ_ENOMEM, "%s: out of memory for %llu tokens at once", s->model->path,
                         (unsigned long long)s->tokens);
}

/* Cosines and sines of a window's positions, as the forward pass has them. */
static int make_turns(struct pq_student *s, struct pq_err *e)
{
    struct pq_session as = {.hp = s->hp, .turn = s->turn};
    as.inv_freq = (float *)pq_calloc(s->hp->rot_dims / 2, sizeof *as.inv_freq);
    if (!as.inv_freq)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", s->model->path);
    pq_rope_begin(&as, pq_rope_is_long(s->hp, s->size));
    pq_rope_turns(&as, 0, s->size);
    pq_free(as.inv_freq);
    return PQ_OK;
}

int pq_student_new(struct pq_student **out, const struct pq_model *m, const struct pq_model *source,
                   const struct pq_student_setup *setup, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_student *s = (struct pq_student *)pq_calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", m->path);
    s->model = m;
    s->hp = &m->net.hp;
    s->kern = pq_kern_best(NULL);
    s->math.compute = pq_compute_best(setup->cpu_level);
    s->size = setup->size;
    s->windows = setup->windows;
    if (!s->math.compute)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "unknown instruction set \"%s\"", setup->cpu_level));
    PQ_TRY(pq_pool_new(&s->math.pool, setup->threads, e));
    PQ_TRY(memory(s, e));
    PQ_TRY(make_turns(s, e));
    PQ_TRY(make_params(s, source, e));
    PQ_TRY(bind(s, e));
    *out = s;
    s = NULL;
out:
    pq_student_free(s);
    return rc;
}

void pq_student_free(struct pq_student *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->param && i < s->model->net.n_tensors; i++)
        pq_param_end(&s->param[i]);
    pq_pool_free(s->math.pool);
    pq_arena_free(&s->arena);
    pq_free(s);
}
