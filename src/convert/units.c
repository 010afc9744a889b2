/*
 * The pieces of work, and the errors that are measured in them. Their boundaries depend on the
 * model only, so neither bytes nor checksums depend on threads. SPDX-License-Identifier: MIT
 */
#include "base/hash.h"
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

/* Four sums of each, which need not wait for each other. */
void pq_row_error_add(struct pq_row_error *sum, const float *x, const float *back, uint64_t cols)
{
    double err[4] = {0}, ref[4] = {0};
    uint64_t c = 0;
    for (; cols - c >= 4; c += 4)
        for (int i = 0; i < 4; i++) {
            double v = (double)x[c + i], d = (double)back[c + i] - v;
            err[i] += d * d;
            ref[i] += v * v;
        }
    for (; c < cols; c++) {
        double v = (double)x[c], d = (double)back[c] - v;
        err[0] += d * d;
        ref[0] += v * v;
    }
    sum->err += (err[0] + err[1]) + (err[2] + err[3]);
    sum->ref += (ref[0] + ref[1]) + (ref[2] + ref[3]);
}

uint64_t pq_row_hash(float *back, uint64_t cols, uint64_t row)
{
    for (uint64_t c = 0; c < cols; c++)
        back[c] += 0.0f; /* a zero is a zero, whatever its sign */
    return pq_hash(back, (size_t)cols * sizeof *back, row);
}

struct pq_row_error pq_item_error(const struct pq_target *t, size_t item, const struct pq_units *u)
{
    struct pq_row_error sum = {0, 0};
    const struct pq_item *it = &t->plan.item[item];
    for (uint32_t k = 0; it->tensor && k < u->of_tensor[it->tensor_index]; k++) {
        sum.err += t->written[item][k].error.err;
        sum.ref += t->written[item][k].error.ref;
    }
    return sum;
}
