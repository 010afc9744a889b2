/* One pass over a text, layer by layer, that looks at the inputs of every product.
 * SPDX-License-Identifier: MIT */
#include "eval/calibrate.h"
#include "base/sys.h"
#include "container/container.h"

#include <inttypes.h>
#include <math.h>

/* Of one matrix: while its layer is computed. */
struct moments {
    double *sum2; /* [cols] */
    float *lower; /* of X^T X; NULL where nobody asks for it */
    uint64_t rows;
};

struct run {
    const struct pq_calibrate_options *set;
    struct pq_model *m;
    struct pq_session *s;
    struct pq_windows text;
    float *h;           /* [windows * size][hidden], what goes from layer to layer */
    struct moments *of; /* [n_tensors] */
    struct pq_imatrix_out file;
    const struct pq_compute *compute;
    float *turned; /* a batch's inputs, column by column */
    bool no_memory;
    size_t matrices;
    json_t *dead;
    double began;
};

static int no_memory(const struct run *r, struct pq_err *e)
{
    return pq_fail(e, PQ_ENOMEM, "%s: out of memory while calibrating", r->set->model);
}

/* ---- sums ---- */

static void add_squares(double *sum2, const float *x, uint64_t cols)
{
    for (uint64_t c = 0; c < cols; c++)
        sum2[c] += (double)x[c] * (double)x[c];
}

enum { BATCH = 256 };

static bool wants_products(const struct run *r, const struct pq_tensor *t)
{
    return r->set->products && pq_network_inputs_of(&r->m->net, t) == t;
}

static void forget(struct moments *m)
{
    pq_free(m->sum2);
    pq_free(m->lower);
    *m = (struct moments){0};
}

/* The memory for a matrix that is seen for the first time. */
static bool begin_sums(const struct run *r, struct moments *m, const struct pq_tensor *t)
{
    const size_t n = (size_t)t->cols;
    m->sum2 = (double *)pq_calloc(n, sizeof *m->sum2);
    if (wants_products(r, t))
        m->lower = (float *)pq_calloc(n + 1, n / 2 * sizeof *m->lower);
    return m->sum2 && (m->lower || !wants_products(r, t));
}

static void on_inputs(void *ctx, const struct pq_inputs *in)
{
    struct run *r = (struct run *)ctx;
    struct moments *m = &r->of[in->weight - r->m->net.tensor];
    r->no_memory |= !m->sum2 && !begin_sums(r, m, in->weight);
    if (r->no_memory)
        return;
    for (uint64_t t = 0; t < in->n; t++)
        add_squares(m->sum2, in->x + t * in->step, in->weight->cols);
    m->rows += in->n;
    if (m->lower)
        pq_products_add(m->lower, in, r->compute, r->turned);
}

/* Columns whose input was zero throughout; a sum that is no number is an error. */
static int check_sums(struct run *r, const struct pq_tensor *t, const double *sum2,
                      struct pq_err *e)
{
    uint64_t dead = 0;
    for (uint64_t c = 0; c < t->cols; c++) {
        if (!(sum2[c] <= (double)3.4e38f))
            return pq_fail(e, PQ_EFORMAT,
                           "%s: the inputs of %s are not finite in column %" PRIu64 " on %s: the "
                           "weights before it are broken, or their type is too narrow",
                           r->set->model, t->name, c, r->set->text);
        dead += sum2[c] == 0;
    }
    if (dead)
        json_array_append_new(
            r->dead, json_pack("{s:s, s:I}", "tensor", t->name, "columns", (json_int_t)dead));
    return PQ_OK;
}

/* Writes and forgets what was summed since the last time. */
static int put_sums(struct run *r, struct pq_err *e)
{
    int rc = r->no_memory ? no_memory(r, e) : PQ_OK;
    for (size_t i = 0; rc >= 0 && i < r->m->net.n_tensors; i++) {
        struct moments *m = &r->of[i];
        if (!m->sum2)
            continue;
        rc = check_sums(r, &r->m->net.tensor[i], m->sum2, e);
        if (rc >= 0)
            rc = pq_imatrix_put(&r->file, i, m->sum2, m->rows, e);
        if (rc >= 0 && m->lower)
            rc = pq_imatrix_put_products(&r->file, i, m->lower, e);
        forget(m);
        r->matrices++;
    }
    return rc;
}

/* ---- the pass ---- */

static int progress(const struct run *r, uint32_t layer, uint64_t window, struct pq_err *e)
{
    const uint64_t layers = r->m->net.hp.n_layers;
    const struct pq_progress p = {"calibrate", "", layer * r->text.n + window, layers * r->text.n,
                                  pq_now() - r->began};
    return r->set->progress && r->set->progress(r->set->progress_ctx, &p)
               ? pq_fail(e, PQ_ECANCELLED, "stopped on request")
               : PQ_OK;
}

static float *window_of(const struct run *r, uint64_t w)
{
    return r->h + w * r->text.size * r->m->net.hp.hidden;
}

static int pass(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const uint32_t size = r->text.size;
    for (uint64_t w = 0; w < r->text.n; w++)
        PQ_TRY(pq_session_embed(r->s, r->text.ids.id + w * size, size, window_of(r, w), e));
    for (uint32_t layer = 0; layer < r->m->net.hp.n_layers; layer++) {
        for (uint64_t w = 0; w < r->text.n; w++) {
            pq_session_layer(r->s, layer, size, window_of(r, w));
            PQ_TRY(progress(r, layer, w + 1, e));
        }
        PQ_TRY(put_sums(r, e));
    }
    for (uint64_t w = 0; w < r->text.n; w++)
        pq_session_outputs(r->s, size, window_of(r, w));
    PQ_TRY(put_sums(r, e));
out:
    return rc;
}

/* ---- the whole ---- */

static int read_text(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    struct pq_tokenizer *t = NULL;
    if (!r->m->has_vocab)
        return pq_fail(e, PQ_EINVAL, "%s: the model has no tokenizer", r->set->model);
    PQ_TRY(pq_windows_size(&r->text.size, r->set->window, r->m, e));
    PQ_TRY(pq_tokenizer_new(&t, &r->m->vocab, e));
    PQ_TRY(pq_windows_read(&r->text, t, r->m, r->set->text, r->set->max_windows, e));
    if (r->text.n > UINT32_MAX)
        PQ_TRY(pq_fail(e, PQ_EINVAL, "%s: too many windows: take --windows", r->set->text));
out:
    pq_tokenizer_free(t);
    return rc;
}

static int memory(struct run *r, struct pq_err *e)
{
    const struct pq_network *net = &r->m->net;
    r->h = (float *)pq_calloc((size_t)(r->text.n * r->text.size), net->hp.hidden * sizeof *r->h);
    r->of = (struct moments *)pq_calloc(net->n_tensors, sizeof *r->of);
    r->dead = json_array();
    uint64_t widest = 0;
    for (size_t i = 0; i < net->n_tensors; i++)
        widest = net->tensor[i].cols > widest ? net->tensor[i].cols : widest;
    r->turned = (float *)pq_calloc(r->set->products ? BATCH : 0, widest * sizeof *r->turned);
    return r->h && r->of && r->dead && r->turned ? PQ_OK : no_memory(r, e);
}

static int calibrate(struct run *r, struct pq_err *e)
{
    int rc = PQ_OK;
    const struct pq_calibrate_options *s = r->set;
    PQ_TRY(pq_model_load(&r->m, s->model, e));
    PQ_TRY(read_text(r, e));
    PQ_TRY(memory(r, e));
    const struct pq_session_setup setup = {.context = r->text.size,
                                           .threads = s->threads,
                                           .kv = PQ_KV_F32,
                                           .cpu = s->cpu_level,
                                           .batch = BATCH,
                                           .on_inputs = on_inputs,
                                           .ctx = r};
    PQ_TRY(pq_session_new(&r->s, r->m, &setup, e));
    const struct pq_imatrix about = {
        .dataset = s->text, .n_chunks = (uint32_t)r->text.n, .chunk_size = r->text.size};
    r->compute = pq_compute_best(s->cpu_level);
    r->file.products = s->products != 0;
    PQ_TRY(pq_imatrix_create(&r->file, s->out, &r->m->net, &about, e));
    PQ_TRY(pass(r, e));
    PQ_TRY(pq_imatrix_finish(&r->file, e));
out:
    return rc;
}

static int report(struct run *r, json_t **out, struct pq_err *e)
{
    const struct pq_calibrate_options *s = r->set;
    *out =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:O, s:f, s:I}", "model", s->model,
                  "text", s->text, "path", s->out, "text_tokens", (json_int_t)r->text.ids.n,
                  "window", (json_int_t)r->text.size, "windows", (json_int_t)r->text.n, "tokens",
                  (json_int_t)(r->text.n * r->text.size), "matrices", (json_int_t)r->matrices,
                  "products", s->products != 0, "dead", r->dead, "seconds", pq_now() - r->began,
                  "peak_rss_bytes", (json_int_t)pq_peak_rss());
    return *out ? PQ_OK : no_memory(r, e);
}

int pq_calibrate_model(json_t **out, const struct pq_calibrate_options *s, struct pq_err *e)
{
    struct run r = {.set = s, .began = pq_now()};
    *out = NULL;
    int rc = calibrate(&r, e);
    if (rc >= 0)
        rc = report(&r, out, e);
    for (size_t i = 0; r.of && i < r.m->net.n_tensors; i++)
        forget(&r.of[i]);
    pq_imatrix_abandon(&r.file);
    pq_session_free(r.s);
    pq_model_free(r.m);
    pq_windows_free(&r.text);
    pq_free(r.h);
    pq_free(r.of);
    pq_free(r.turned);
    json_decref(r.dead);
    return rc;
}
