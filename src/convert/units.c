/*
 * The pieces of work, and the errors that are measured in them. Their boundaries depend on the
 * model only, so neither bytes nor checksums depend on threads. SPDX-License-Identifier: MIT
 */
#include "convert/convert.h"

enum { UNIT_WEIGHTS = 512 * 1024 }; /* 2 MB as float: large writes, small scratch */

int pq_units_make(struct pq_units *u, struct pq_run *r, struct pq_err *e)
{
    const struct pq_network *net = &r->model->net;
    *u = (struct pq_units){0};
    u->of_tensor = (uint32_t *)pq_arena_alloc(&r->arena, net->n_tensors, sizeof *u->of_tensor);
    for (int pass = 0; pass < 2 && u->of_tensor; pass++) {
        size_t n = 0;
        for (size_t t = 0; t < net->n_tensors; t++) {
            uint64_t rows = net->tensor[t].rows, cols = net->tensor[t].cols;
            uint64_t step = UNIT_WEIGHTS / (cols + 1) + 1;
            uint32_t k = 0;
            for (uint64_t row = 0; row < rows; row += step, n++, k++)
                if (pass)
                    u->unit[n] = (struct pq_unit){(uint32_t)t, k, row,
                                                  rows - row < step ? rows - row : step};
            u->of_tensor[t] = k;
            uint64_t most = (rows < step ? rows : step) * cols;
            u->max_weights = most > u->max_weights ? most : u->max_weights;
            u->max_cols = cols > u->max_cols ? cols : u->max_cols;
        }
        u->n = n;
        if (!pass && !(u->unit = (struct pq_unit *)pq_arena_alloc(&r->arena, n, sizeof *u->unit)))
            break;
    }
    return u->unit ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory for the plan's work list");
}

/* All rows of a small model, one in 16 of a large one. */
uint64_t pq_run_stride(const struct pq_run *r)
{
    return pq_network_weights(&r->model->net) < 64u << 20 ? 1 : 16;
}

void pq_row_error_add(struct pq_row_error *sum, const float *x, const float *back, uint64_t cols)
{
    double err = 0, ref = 0;
    for (uint64_t c = 0; c < cols; c++) {
        double d = (double)back[c] - (double)x[c];
        err += d * d;
        ref += (double)x[c] * (double)x[c];
    }
    sum->err += err;
    sum->ref += ref;
}

struct pq_row_error pq_item_error(const struct pq_target *t, size_t item, const struct pq_units *u)
{
    struct pq_row_error sum = {0, 0};
    const struct pq_item *it = &t->plan.item[item];
    for (uint32_t k = 0; it->tensor && k < u->of_tensor[it->tensor_index]; k++) {
        sum.err += t->written[item].error[k].err;
        sum.ref += t->written[item].error[k].ref;
    }
    return sum;
}
