/* Mixed precision to a target: a scheme for each matrix, so that the least is lost within a number
 * of bytes, or the fewest bytes are taken within a loss. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "convert/convert.h"
#include "convert/knapsack.h"
#include "eval/sensitivity.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What one target's matrices can be, and cost. */
struct mix {
    struct pq_run *r;
    struct pq_target *t;
    size_t n;       /* matrices */
    size_t *tensor; /* [n] into the network */
    const struct pq_scheme *(*scheme)[PQ_MAX_CANDIDATES];
    struct pq_option (*option)[PQ_MAX_CANDIDATES];
    struct pq_item_options *item; /* [n] */
    size_t most_options;
    uint8_t *pick; /* [n] */
    /* Of the last plan: bytes of all files, of what belongs to no matrix, of tensors among that. */
    uint64_t bytes, rest, others;
    double weights; /* of all tensors */
};

static int no_memory(struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "out of memory while choosing schemes");
}

bool pq_run_wants_mix(const struct pq_quantize_options *o)
{
    return o->target_bytes || o->target_bpw > 0 || o->max_kld > 0;
}

/* ---- what there is to choose from ---- */

/* What the user named is settled, whether or not its loss is known. */
static size_t list_schemes(const struct mix *x, size_t i)
{
    const struct pq_network *net = &x->r->model->net;
    const struct pq_tensor *t = &net->tensor[x->tensor[i]];
    if (!pq_container_is_named(&x->t->request, net, t))
        return pq_candidates(x->t->container, net, x->tensor[i], x->scheme[i]);
    x->scheme[i][0] = x->t->choice[x->tensor[i]];
    return 1;
}

static int list_matrix(struct mix *x, size_t i, struct pq_err *e)
{
    const struct pq_tensor *t = &x->r->model->net.tensor[x->tensor[i]];
    const size_t n = list_schemes(x, i);
    for (size_t k = 0; k < n; k++) {
        const double kld = pq_sensitivity_of(x->r->sensitivity, t, x->scheme[i][k]);
        if (kld < 0)
            return pq_fail(e, PQ_EINVAL,
                           "%s: what %s in %s costs was not measured: make the file with phiq "
                           "sensitivity --to %s from this model%s",
                           x->r->opt->sensitivity ? x->r->opt->sensitivity : "sensitivity", t->name,
                           x->scheme[i][k]->name, x->t->container->name,
                           n == 1 ? ", or do not name this scheme" : "");
        x->option[i][k].loss = kld;
    }
    x->item[i] = (struct pq_item_options){x->option[i], n};
    x->most_options = n > x->most_options ? n : x->most_options;
    return PQ_OK;
}

static int list_all(struct mix *x, struct pq_err *e)
{
    const struct pq_network *net = &x->r->model->net;
    struct pq_arena *a = &x->r->arena;
    int rc = PQ_OK;
    x->tensor = (size_t *)pq_arena_alloc(a, net->n_tensors, sizeof *x->tensor);
    for (size_t i = 0; x->tensor && i < net->n_tensors; i++)
        if (pq_role_is_matrix(net->tensor[i].role))
            x->tensor[x->n++] = i;
    x->scheme = pq_arena_alloc(a, x->n, sizeof *x->scheme);
    x->option = pq_arena_alloc(a, x->n, sizeof *x->option);
    x->item = (struct pq_item_options *)pq_arena_alloc(a, x->n, sizeof *x->item);
    x->pick = (uint8_t *)pq_arena_alloc(a, x->n, 1);
    if (!x->tensor || !x->scheme || !x->option || !x->item || !x->pick)
        return no_memory(e);
    for (size_t i = 0; rc >= 0 && i < x->n; i++)
        rc = list_matrix(x, i, e);
    return rc;
}

/* ---- plans ---- */

static uint64_t item_bytes(const struct pq_item *it)
{
    uint64_t sum = 0;
    for (int i = 0; it->tensor && i < it->n_parts; i++)
        sum += it->bytes[i];
    return sum;
}

/* The bytes of a tensor in the plan. */
static uint64_t planned(const struct pq_plan *p, size_t tensor)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < p->n_items; k++)
        sum += p->item[k].tensor_index == tensor ? item_bytes(&p->item[k]) : 0;
    return sum;
}

static void take_stock(struct mix *x)
{
    const struct pq_plan *p = &x->t->plan;
    uint64_t matrices = 0;
    x->bytes = pq_plan_bytes(p);
    x->others = 0;
    x->weights = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        const struct pq_tensor *t = p->item[i].tensor;
        x->others += item_bytes(&p->item[i]);
        x->weights += t ? (double)t->rows * (double)t->cols : 0;
    }
    for (size_t i = 0; i < x->n; i++)
        matrices += planned(p, x->tensor[i]);
    x->others -= matrices;
    x->rest = x->bytes - matrices;
}

/* Plans the picks, into the target. */
static int plan(struct mix *x, struct pq_err *e)
{
    struct pq_target *t = x->t;
    for (size_t i = 0; i < x->n; i++)
        t->choice[x->tensor[i]] = x->scheme[i][x->pick[i]];
    pq_plan_free(&t->plan);
    int rc = t->container->plan(&t->plan, x->r->model, &t->request, t->choice, e);
    if (rc >= 0)
        take_stock(x);
    return rc;
}

/* Sizes as the container's own planner gives them: every matrix in its k-th scheme, for all k. */
static int size_options(struct mix *x, struct pq_err *e)
{
    int rc = PQ_OK;
    for (size_t k = 0; k < x->most_options; k++) {
        for (size_t i = 0; i < x->n; i++)
            x->pick[i] = (uint8_t)(k < x->item[i].n ? k : 0);
        PQ_TRY(plan(x, e));
        for (size_t i = 0; i < x->n; i++)
            if (k < x->item[i].n)
                x->option[i][k].bytes = planned(&x->t->plan, x->tensor[i]);
    }
out:
    return rc;
}

/* ---- what is chosen, as a recipe ---- */

static struct pq_knapsack knapsack(const struct mix *x)
{
    return (struct pq_knapsack){x->item, x->n};
}

static struct pq_option picked(const struct mix *x)
{
    const struct pq_knapsack k = knapsack(x);
    return pq_knapsack_sum(&k, x->pick);
}

/* As reports count them: all tensors, without the document. */
static double tensor_bits(const struct mix *x)
{
    return 8 * (double)(picked(x).bytes + x->others) / x->weights;
}

static double weights_in(const struct mix *x, const struct pq_scheme *s)
{
    double sum = 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct pq_tensor *t = &x->r->model->net.tensor[x->tensor[i]];
        if (x->scheme[i][x->pick[i]] == s)
            sum += (double)t->rows * (double)t->cols;
    }
    return sum;
}

/* The scheme with codes that most weights have; any where there is none. */
static const struct pq_scheme *commonest(const struct mix *x)
{
    const struct pq_scheme *best = x->scheme[0][x->pick[0]];
    double most = 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct pq_scheme *s = x->scheme[i][x->pick[i]];
        const double sum = s->family == PQ_FAM_FLOAT ? 0 : weights_in(x, s);
        if (sum > most) {
            most = sum;
            best = s;
        }
    }
    return best;
}

static int file_type_of(const struct pq_container *c, const char *base)
{
    for (const struct pq_recipe *r = c->recipes; r->name; r++)
        if (!strcmp(r->base, base))
            return r->file_type;
    return c->recipes->file_type;
}

/* For names and metadata. */
static int name_recipe(struct mix *x, struct pq_err *e)
{
    struct pq_arena *a = &x->r->arena;
    struct pq_recipe *r = (struct pq_recipe *)pq_arena_alloc(a, 1, sizeof *r);
    const struct pq_option sum = picked(x);
    if (!r)
        return no_memory(e);
    r->base = commonest(x)->name;
    r->about = "chosen for a target";
    r->file_type = file_type_of(x->t->container, r->base);
    r->name = pq_arena_printf(a, "mix%.2f", tensor_bits(x));
    x->t->request.mix =
        pq_arena_printf(a, "expected KL divergence %.3g, measured on %s", sum.loss,
                        json_string_value(json_object_get(x->r->sensitivity, "text")));
    x->t->request.recipe = r;
    x->t->mix.kld = sum.loss;
    return r->name && x->t->request.mix ? PQ_OK : no_memory(e);
}

static int settle(struct mix *x, struct pq_err *e)
{
    int rc = name_recipe(x, e);
    return rc < 0 ? rc : plan(x, e);
}

/* ---- the target ---- */

/* Files of the smallest and of the largest options; what lies outside is refused. */
static int find_ends(struct mix *x, struct pq_err *e)
{
    for (int largest = 0; largest < 2; largest++) {
        for (size_t i = 0; i < x->n; i++) {
            const struct pq_option *o = x->item[i].option;
            x->pick[i] = 0;
            for (size_t k = 1; k < x->item[i].n; k++)
                if (largest ? o[k].bytes > o[x->pick[i]].bytes : o[k].bytes < o[x->pick[i]].bytes)
                    x->pick[i] = (uint8_t)k;
        }
        int rc = settle(x, e);
        if (rc < 0)
            return rc;
        x->t->mix.end[largest] = (struct pq_mix_end){x->bytes, tensor_bits(x), picked(x).loss};
    }
    return PQ_OK;
}

static int outside(const struct mix *x, const char *target, struct pq_err *e)
{
    const struct pq_mix_end *end = x->t->mix.end;
    return pq_fail(e, PQ_EINVAL,
                   "%s cannot be reached in %s: its schemes give this network %" PRIu64
                   " bytes (%.3f bits per weight, expected KL divergence %.3g) at the least and "
                   "%" PRIu64 " (%.3f, %.3g) at the most",
                   target, x->t->container->name, end[0].bytes, end[0].bits, end[0].kld,
                   end[1].bytes, end[1].bits, end[1].kld);
}

/* The best choice so far that fits the file, and between which numbers of bytes for matrices a
 * better one may lie. */
struct search {
    uint64_t target, fits, too_many; /* fits 0: none yet */
    uint8_t *pick;
};

/* Plans the best choice for `room` bytes of matrices, and narrows the search by what comes out. */
static int try_room(struct mix *x, struct search *s, uint64_t room, struct pq_err *e)
{
    const struct pq_knapsack k = knapsack(x);
    int rc = pq_knapsack_within_bytes(&k, room, x->pick, e);
    if (rc >= 0)
        rc = settle(x, e);
    if (rc < 0)
        return rc;
    if (x->bytes > s->target) {
        s->too_many = room;
        return PQ_OK;
    }
    if (!s->fits || picked(x).loss <= pq_knapsack_sum(&k, s->pick).loss)
        memcpy(s->pick, x->pick, x->n);
    s->fits = room;
    return PQ_OK;
}

/* What is in no matrix (names, padding) depends a little on the choice: where it takes more or less
 * than it did, the next try has less or more room. */
static int within_file(struct mix *x, uint64_t target, struct pq_err *e)
{
    enum { TRIES = 16 };
    int rc = PQ_OK;
    const struct pq_knapsack k = knapsack(x);
    const struct pq_mix_end *end = x->t->mix.end;
    const uint64_t fewest = pq_knapsack_fewest(&k);
    struct search s = {.target = target, .too_many = pq_knapsack_most(&k) + 1};
    char words[64];
    snprintf(words, sizeof words, "a file of %" PRIu64 " bytes", target);
    s.pick = (uint8_t *)pq_arena_alloc(&x->r->arena, x->n, 1);
    if (!s.pick)
        return no_memory(e);
    if (target < end[0].bytes || target > end[1].bytes)
        return outside(x, words, e);
    for (int i = 0; rc >= 0 && i < TRIES && s.too_many - (s.fits ? s.fits : fewest) > 1; i++) {
        const uint64_t low = s.fits ? s.fits + 1 : fewest;
        uint64_t room = target > x->rest ? target - x->rest : 0;
        if (room < low || room >= s.too_many)
            room = low + (s.too_many - low) / 2;
        rc = try_room(x, &s, room, e);
        if (s.fits == room && target - x->bytes < target / 2000)
            break;
    }
    if (rc < 0 || !s.fits)
        return rc < 0 ? rc : outside(x, words, e);
    memcpy(x->pick, s.pick, x->n);
    return settle(x, e);
}

static int within_bits(struct mix *x, double bits, struct pq_err *e)
{
    const struct pq_knapsack k = knapsack(x);
    const double bytes = bits * x->weights / 8 - (double)x->others;
    char words[64];
    snprintf(words, sizeof words, "%g bits per weight", bits);
    if (bytes < (double)pq_knapsack_fewest(&k) || bytes > (double)pq_knapsack_most(&k))
        return outside(x, words, e);
    int rc = pq_knapsack_within_bytes(&k, (uint64_t)bytes, x->pick, e);
    return rc < 0 ? rc : settle(x, e);
}

static int within_kld(struct mix *x, double kld, struct pq_err *e)
{
    const struct pq_knapsack k = knapsack(x);
    char words[64];
    snprintf(words, sizeof words, "a KL divergence of %g", kld);
    if (kld < pq_knapsack_least_loss(&k))
        return outside(x, words, e);
    int rc = pq_knapsack_within_loss(&k, kld, x->pick, e);
    return rc < 0 ? rc : settle(x, e);
}

/* More than half a percent unused is worth a word. */
static void note_unused(struct mix *x, uint64_t target)
{
    const double unused = target ? 1 - (double)x->bytes / (double)target : 0;
    if (unused > 0.005)
        pq_container_note(&x->t->plan,
                          pq_arena_printf(&x->t->plan.arena,
                                          "%.2g %% of the target are not used: the next better "
                                          "choice of schemes is too large",
                                          100 * unused));
}

int pq_run_mix(struct pq_run *r, struct pq_target *t, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_quantize_options *o = r->opt;
    struct mix x = {.r = r, .t = t};
    PQ_TRY(list_all(&x, e));
    PQ_TRY(size_options(&x, e));
    PQ_TRY(find_ends(&x, e));
    if (o->target_bytes)
        PQ_TRY(within_file(&x, o->target_bytes, e));
    else if (o->target_bpw > 0)
        PQ_TRY(within_bits(&x, o->target_bpw, e));
    else
        PQ_TRY(within_kld(&x, o->max_kld, e));
    note_unused(&x, o->target_bytes);
    t->mix.chosen = true;
out:
    return rc;
}
