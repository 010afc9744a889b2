/* A run from options to outputs. SPDX-License-Identifier: MIT */
#include "convert/convert.h"
#include "base/sys.h"

#include <string.h>

int pq_run_progress(struct pq_run *r, const char *stage, const char *tensor, uint64_t done,
                    uint64_t total, struct pq_err *e)
{
    double now = pq_now();
    if (r->stage != stage) {
        r->stage = stage;
        r->stage_began = now;
        r->last_report = 0;
    }
    if (!r->opt->progress || (now - r->last_report < 0.1 && done < total))
        return PQ_OK;
    r->last_report = now;
    struct pq_progress p = {stage, tensor, done, total, now - r->stage_began};
    return r->opt->progress(r->opt->progress_ctx, &p)
               ? pq_fail(e, PQ_ECANCELLED, "stopped on request; nothing was written")
               : PQ_OK;
}

/* Statistics of the text's inputs; an importance matrix from a file makes them needless. */
static bool calibrates(const struct pq_quantize_options *o)
{
    return o->calibration && !o->imatrix;
}

/* Products are what tells apart: with them, gptq loses least (docs/solvers.md). */
static int pick_solver(struct pq_run *r, struct pq_err *e)
{
    const bool products = calibrates(r->opt) || r->imatrix.products;
    const char *s = r->opt->solver ? r->opt->solver : products ? "gptq" : "search";
    if (!pq_solver_find(s, &r->solver))
        return pq_fail(e, PQ_EINVAL, "unknown solver \"%s\": expected search, rtn or gptq", s);
    if (r->solver == PQ_SOLVER_GPTQ && !products)
        return pq_fail(
            e, PQ_EINVAL,
            "solver gptq needs products of inputs: --calibration TEXT, or --imatrix with "
            "a file of phiq calibrate --products");
    return PQ_OK;
}

static int pick_machine(struct pq_run *r, struct pq_err *e)
{
    r->threads = r->opt->threads > 0 ? r->opt->threads : pq_cpu_count();
    r->kern = pq_kern_best(r->opt->cpu_level);
    return r->kern ? PQ_OK
                   : pq_fail(e, PQ_EINVAL, "unknown CPU level \"%s\" for this build",
                             r->opt->cpu_level);
}

/* Decides and plans one target. */
static int plan_target(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    int rc = PQ_OK;
    size_t n = r->model->net.n_tensors;
    t->choice = (const struct pq_scheme **)pq_arena_alloc(&r->arena, n, sizeof *t->choice);
    if (!t->choice)
        return pq_fail(e, PQ_ENOMEM, "out of memory while planning");
    PQ_TRY(pq_choose(t->container, r->model, &t->request, t->choice, e));
    PQ_TRY(r->sensitivity ? pq_run_mix(r, t, e)
                          : t->container->plan(&t->plan, r->model, &t->request, t->choice, e));
out:
    return rc;
}

static int plan_all(struct pq_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(pick_solver(r, e));
    PQ_TRY(pq_run_targets(r, e));
    for (size_t i = 0; i < r->n_targets; i++)
        PQ_TRY(plan_target(r, &r->target[i], e));
out:
    return rc;
}

static void forget_plans(struct pq_run *r)
{
    for (size_t i = 0; i < r->n_targets; i++)
        pq_plan_free(&r->target[i].plan);
    r->n_targets = 0;
}

/* What has to be found out before the last plan. */
static int measure(struct pq_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const double t0 = pq_now();
    for (size_t i = 0; i < r->n_targets; i++)
        PQ_TRY(pq_place_check(r, &r->target[i], e));
    if (calibrates(r->opt))
        PQ_TRY(pq_run_calibrate(r, e));
    if (pq_run_wants_mix(r->opt))
        PQ_TRY(pq_run_sensitivity(r, e));
    r->seconds_measure = pq_now() - t0;
out:
    return rc;
}

/* Plans once to find what is wrong with the request before the long work, and once more where that
 * work finds something. */
static int plan_measured(struct pq_run *r, bool dry_run, struct pq_err *e)
{
    int rc = PQ_OK;
    const size_t n = r->model->net.n_tensors;
    const struct pq_quantize_options *o = r->opt;
    if (calibrates(o)) {
        r->imatrix.importance =
            (const float **)pq_arena_alloc(&r->arena, n, sizeof *r->imatrix.importance);
        if (!r->imatrix.importance)
            return pq_fail(e, PQ_ENOMEM, "out of memory while planning");
    }
    PQ_TRY(plan_all(r, e));
    if (!pq_run_wants_mix(o) && (dry_run || !calibrates(o)))
        return PQ_OK;
    PQ_TRY(dry_run ? pq_run_sensitivity(r, e) : measure(r, e));
    forget_plans(r);
    PQ_TRY(plan_all(r, e));
out:
    return rc;
}

/* Options that make no sense together. */
static int check_options(const struct pq_quantize_options *o, bool dry_run, struct pq_err *e)
{
    const bool mix = pq_run_wants_mix(o), measures = mix && !o->sensitivity;
    if (!o->input || !o->out_dir)
        return pq_fail(e, PQ_EINVAL, "an input and an output folder are needed");
    if (o->imatrix && o->calibration && !measures)
        return pq_fail(e, PQ_EINVAL, "--imatrix and --calibration: only one of them can count");
    if ((o->target_bytes != 0) + (o->target_bpw > 0) + (o->max_kld > 0) > 1)
        return pq_fail(e, PQ_EINVAL,
                       "--target-size, --target-bpw and --max-kld: only one of them can count");
    if (!mix && o->sensitivity)
        return pq_fail(e, PQ_EINVAL,
                       "--sensitivity is for --target-size, --target-bpw or --max-kld");
    if (mix && (o->scheme || o->precision || o->group_size || o->symmetry || o->ratio > 0))
        return pq_fail(e, PQ_EINVAL,
                       "a target chooses the scheme of every matrix: leave out --scheme, "
                       "--precision, --group-size, --sym, --asym and --ratio (--tensor, --embed "
                       "and --head may settle some)");
    if (measures && !o->calibration)
        return pq_fail(e, PQ_EINVAL,
                       "a target needs to know what schemes cost: --calibration TEXT, or "
                       "--sensitivity with a file of phiq sensitivity");
    if (measures && dry_run)
        return pq_fail(e, PQ_EINVAL,
                       "--dry-run with a target needs --sensitivity: measuring is most of the run");
    return PQ_OK;
}

int pq_run_open(struct pq_run *r, const struct pq_quantize_options *opt, bool dry_run,
                struct pq_err *e)
{
    int rc = PQ_OK;
    double t0 = pq_now();
    *r = (struct pq_run){.opt = opt};
    PQ_TRY(check_options(opt, dry_run, e));
    PQ_TRY(pick_machine(r, e));
    PQ_TRY(pq_model_load(&r->model, opt->input, e));
    if (opt->imatrix)
        PQ_TRY(pq_imatrix_load(&r->imatrix, &r->arena, opt->imatrix, &r->model->net, e));
    PQ_TRY(plan_measured(r, dry_run, e));
    r->seconds_plan = pq_now() - t0 - r->seconds_measure;
out:
    return rc;
}

static int write_all(struct pq_run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    double t0 = pq_now();
    PQ_TRY(pq_units_make(&r->units, r, e));
    for (size_t i = 0; i < r->n_targets; i++)
        PQ_TRY(pq_place_begin(r, &r->target[i], e));
    PQ_TRY(pq_rows_write(r, &r->units, e));
    for (size_t i = 0; i < r->n_targets; i++)
        PQ_TRY(pq_place_sync(&r->target[i], e));
    r->seconds_write = pq_now() - t0;
    for (size_t i = 0; i < r->n_targets; i++)
        PQ_TRY(pq_verify(r, &r->target[i], &r->units, e));
    r->seconds_verify = pq_now() - t0 - r->seconds_write;
    for (size_t i = 0; i < r->n_targets; i++)
        PQ_TRY(pq_place_commit(r, &r->target[i], e));
    r->written = true;
out:
    return rc;
}

int pq_run_write(struct pq_run *r, struct pq_err *e)
{
    int rc = write_all(r, e);
    for (size_t i = 0; i < r->n_targets; i++)
        pq_place_abandon(&r->target[i]); /* after success only the empty folder is left */
    return rc;
}

void pq_run_close(struct pq_run *r)
{
    forget_plans(r);
    pq_imatrix_close(&r->imatrix);
    json_decref(r->calibration);
    json_decref(r->sensitivity);
    pq_model_free(r->model);
    pq_arena_free(&r->arena);
}
