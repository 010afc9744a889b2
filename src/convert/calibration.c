/* A text's statistics for one run only, and what they are used for. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "convert/convert.h"
#include "eval/calibrate.h"
#include "quant/codes.h"

enum { LEAST_TOKENS = 32768, TOKENS_PER_COLUMN = 4, USUAL_WINDOW = 512 };

uint64_t pq_calibration_windows(const struct pq_network *net)
{
    const uint64_t limit = net->hp.max_position;
    const uint64_t window = limit && limit < USUAL_WINDOW ? limit : USUAL_WINDOW;
    uint64_t tokens = LEAST_TOKENS;
    for (size_t i = 0; i < net->n_tensors; i++)
        if (pq_role_is_matrix(net->tensor[i].role) &&
            net->tensor[i].cols * TOKENS_PER_COLUMN > tokens)
            tokens = net->tensor[i].cols * TOKENS_PER_COLUMN;
    return pq_ceil_div(tokens, window);
}

static int measure(struct pq_run *r, const char *path, struct pq_err *e)
{
    struct pq_calibrate_options o;
    const struct pq_quantize_options *q = r->opt;
    pq_calibrate_options_default(&o);
    o.model = q->input;
    o.text = q->calibration;
    o.out = path;
    o.products = r->solver == PQ_SOLVER_GPTQ;
    o.max_windows =
        q->calibration_windows ? q->calibration_windows : pq_calibration_windows(&r->model->net);
    o.threads = q->threads;
    o.cpu_level = q->cpu_level;
    o.progress = q->progress;
    o.progress_ctx = q->progress_ctx;
    return pq_calibrate_model(&r->calibration, &o, e);
}

int pq_run_calibrate(struct pq_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_err ignored = {0};
    const struct pq_target *t = &r->target[0];
    const char *path = pq_arena_printf(&r->arena, "%s.stats", t->part_dir);
    if (!path)
        return pq_fail(e, PQ_ENOMEM, "out of memory while calibrating");
    PQ_TRY(pq_dir_make(t->plan.whole_folder ? r->opt->out_dir : t->final_dir, e));
    PQ_TRY(measure(r, path, e));
    PQ_TRY(pq_imatrix_load(&r->imatrix, &r->arena, path, &r->model->net, e));
out:
    (void)!pq_tree_remove(path, &ignored); /* what is mapped stays readable */
    return rc;
}

enum pq_solver pq_run_solver_of(const struct pq_run *r, const struct pq_item *it)
{
    if (it->scheme->family == PQ_FAM_FLOAT)
        return PQ_SOLVER_RTN;
    if (r->solver != PQ_SOLVER_GPTQ)
        return r->solver;
    const bool products = r->imatrix.products ? r->imatrix.products[it->tensor_index].lower != NULL
                                              : pq_imatrix_has(&r->model->net, it->tensor_index);
    return products && pq_codes_known(it->scheme) ? PQ_SOLVER_GPTQ : PQ_SOLVER_SEARCH;
}
