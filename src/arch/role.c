/* Roles: names, shapes, and rows of tensors. SPDX-License-Identifier: MIT */
#include "arch/network.h"
#include "base/num.h"

#include <assert.h>

enum dim { ONE, VOCAB, HIDDEN, Q, KV, QKV, FF, GATE_UP, N_DIMS };

static const struct role_row {
    const char *name;
    enum dim rows, cols; /* rows = ONE: a vector */
} roles[PQ_ROLES] = {
    [PQ_ROLE_EMBED] = {"embed", VOCAB, HIDDEN},
    [PQ_ROLE_HEAD] = {"head", VOCAB, HIDDEN},
    [PQ_ROLE_HEAD_BIAS] = {"head_bias", ONE, VOCAB},
    [PQ_ROLE_ATTN_NORM] = {"attn_norm", ONE, HIDDEN},
    [PQ_ROLE_ATTN_NORM_BIAS] = {"attn_norm_bias", ONE, HIDDEN},
    [PQ_ROLE_ATTN_QKV] = {"attn_qkv", QKV, HIDDEN},
    [PQ_ROLE_ATTN_Q] = {"attn_q", Q, HIDDEN},
    [PQ_ROLE_ATTN_Q_BIAS] = {"attn_q_bias", ONE, Q},
    [PQ_ROLE_ATTN_K] = {"attn_k", KV, HIDDEN},
    [PQ_ROLE_ATTN_K_BIAS] = {"attn_k_bias", ONE, KV},
    [PQ_ROLE_ATTN_V] = {"attn_v", KV, HIDDEN},
    [PQ_ROLE_ATTN_V_BIAS] = {"attn_v_bias", ONE, KV},
    [PQ_ROLE_ATTN_OUT] = {"attn_out", HIDDEN, Q},
    [PQ_ROLE_ATTN_OUT_BIAS] = {"attn_out_bias", ONE, HIDDEN},
    [PQ_ROLE_FFN_NORM] = {"ffn_norm", ONE, HIDDEN},
    [PQ_ROLE_FFN_GATE_UP] = {"ffn_gate_up", GATE_UP, HIDDEN},
    [PQ_ROLE_FFN_UP] = {"ffn_up", FF, HIDDEN},
    [PQ_ROLE_FFN_UP_BIAS] = {"ffn_up_bias", ONE, FF},
    [PQ_ROLE_FFN_DOWN] = {"ffn_down", HIDDEN, FF},
    [PQ_ROLE_FFN_DOWN_BIAS] = {"ffn_down_bias", ONE, HIDDEN},
    [PQ_ROLE_FINAL_NORM] = {"final_norm", ONE, HIDDEN},
    [PQ_ROLE_FINAL_NORM_BIAS] = {"final_norm_bias", ONE, HIDDEN},
};

const char *pq_role_name(enum pq_role r)
{
    return roles[r].name;
}

bool pq_role_is_matrix(enum pq_role r)
{
    return roles[r].rows != ONE;
}

void pq_role_shape(enum pq_role r, const struct pq_hparams *hp, uint64_t *rows, uint64_t *cols,
                   int *n_dims)
{
    const uint64_t hd = hp->head_dim;
    const uint64_t size[N_DIMS] = {
        [ONE] = 1,
        [VOCAB] = hp->vocab,
        [HIDDEN] = hp->hidden,
        [Q] = hp->n_heads * hd,
        [KV] = hp->n_kv_heads * hd,
        [QKV] = (hp->n_heads + 2 * (uint64_t)hp->n_kv_heads) * hd,
        [FF] = hp->ff,
        [GATE_UP] = 2 * (uint64_t)hp->ff,
    };
    *rows = size[roles[r].rows];
    *cols = size[roles[r].cols];
    *n_dims = pq_role_is_matrix(r) ? 2 : 1;
}

void pq_tensor_row(const struct pq_tensor *t, const struct pq_kern *k, uint64_t row, float *x)
{
    assert(row < t->rows);
    const struct pq_slice *s = t->slice;
    while (row >= s->rows)
        row -= s++->rows;
    pq_view_row(&s->view, k, s->row0 + row, x);
}

uint64_t pq_tensor_let_go(const struct pq_tensor *t, uint64_t row0, uint64_t rows)
{
    uint64_t bytes = 0, first = 0;
    for (int i = 0; i < t->n_slices; first += t->slice[i++].rows) {
        const struct pq_slice *s = &t->slice[i];
        uint64_t lo = row0 > first ? row0 - first : 0, hi = row0 + rows - first;
        if (row0 + rows <= first || lo >= s->rows)
            continue;
        hi = hi < s->rows ? hi : s->rows;
        const int parts = s->view.own_zeros ? 2 : PQ_MAX_PARTS; /* what memory drops is lost */
        for (int p = 0; p < parts && s->view.part[p]; p++) {
            uint64_t n = pq_scheme_part_bytes(s->view.scheme, s->view.cols, p);
            pq_map_done(s->view.part[p] + (s->row0 + lo) * n, (hi - lo) * n);
            bytes += (hi - lo) * n;
        }
    }
    return bytes;
}

static bool shares_inputs(const struct pq_network *net, enum pq_role role)
{
    const bool of_q = role == PQ_ROLE_ATTN_K || role == PQ_ROLE_ATTN_V;
    return of_q || (net->hp.parallel && role == PQ_ROLE_FFN_UP);
}

const struct pq_tensor *pq_network_inputs_of(const struct pq_network *net,
                                             const struct pq_tensor *t)
{
    for (size_t i = 0; i < net->n_tensors && shares_inputs(net, t->role); i++) {
        const struct pq_tensor *q = &net->tensor[i];
        if (q->layer == t->layer && (q->role == PQ_ROLE_ATTN_Q || q->role == PQ_ROLE_ATTN_QKV))
            return q;
    }
    return t;
}

const struct pq_tensor *pq_network_find(const struct pq_network *net, const char *name)
{
    for (size_t i = 0; i < net->n_tensors; i++)
        if (!strcmp(net->tensor[i].name, name))
            return &net->tensor[i];
    return NULL;
}

uint64_t pq_tensor_bytes(const struct pq_tensor *t)
{
    uint64_t n = 0;
    for (int i = 0; i < t->n_slices; i++)
        n += t->slice[i].rows * pq_scheme_row_bytes(t->slice[i].view.scheme, t->slice[i].view.cols);
    return n;
}

uint64_t pq_network_bytes(const struct pq_network *net)
{
    uint64_t n = 0;
    for (size_t i = 0; i < net->n_tensors; i++)
        n += pq_tensor_bytes(&net->tensor[i]);
    return n;
}

uint64_t pq_network_weights(const struct pq_network *net)
{
    uint64_t n = 0;
    for (size_t i = 0; i < net->n_tensors; i++)
        n += net->tensor[i].rows * net->tensor[i].cols;
    return n;
}
