/* Learning: the way forward is the session's, the way back its derivative, for every architecture;
 * what is written is better, as large, and the same for any number of threads.
 * SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "base/sys.h"
#include "infer/session.h"
#include "refine/refine.h"

#include <math.h>
#include <stdio.h>

enum { SIZE = 48, WINDOWS = 2 };
static const struct pq_student_setup setup = {SIZE, WINDOWS, 2, NULL};

/* A fixture and what quantizing it to 4 bits left. */
struct pair {
    struct pq_model *source, *model;
    struct pq_student *s;
    struct pq_teacher t;
    uint32_t id[SIZE * WINDOWS];
};

static void pair_open(struct pair *p, const char *source, const char *model)
{
    struct pq_err e = {0};
    uint32_t seed = 1;
    *p = (struct pair){.source = modelio_load(source), .model = modelio_load(model)};
    for (size_t i = 0; i < PQ_LEN(p->id); i++) {
        seed = seed * 1664525u + 1013904223u;
        p->id[i] = (seed >> 8) % p->source->net.hp.vocab;
    }
    if (pq_student_new(&p->s, p->model, p->source, &setup, &e) < 0 ||
        pq_teacher_new(&p->t, p->source, p->s, &setup, &e) < 0)
        fail_msg("%s", e.msg);
}

static void pair_close(struct pair *p)
{
    pq_teacher_free(&p->t);
    pq_student_free(p->s);
    pq_model_free(p->model);
    pq_model_free(p->source);
}

static double loss_of(struct pair *p, bool learn)
{
    struct pq_err e = {0};
    double loss;
    pq_student_forward(p->s, p->id, WINDOWS);
    if (pq_teacher_loss(&p->t, p->s, p->id, WINDOWS, learn, &loss, &e) < 0)
        fail_msg("%s", e.msg);
    if (learn)
        pq_student_backward(p->s, p->id, WINDOWS);
    return loss;
}

static void forward_is_the_sessions(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        struct pair p;
        const char *path = modelio_fixture(modelio_fixtures[i]);
        pair_open(&p, path, path);
        const double loss = loss_of(&p, false);
        if (!(fabs(loss) < 1e-8))
            fail_msg("%s: KL divergence %g from itself", modelio_fixtures[i], loss);
        pair_close(&p);
    }
}

/* Moves w along its gradient, up to `by` in all. */
static void move(struct pq_param *a, const float *along, double by)
{
    for (uint64_t i = 0; i < a->rows * a->cols; i++)
        a->w[i] += (float)(by * (double)along[i]);
}

static double length(const float *x, uint64_t n)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* The loss along a gradient rises as its length says. */
static bool check_param(struct pair *p, struct pq_param *a, const char *fixture)
{
    const double size = length(a->grad, a->rows * a->cols);
    const double by = 0.0002 * length(a->w, a->rows * a->cols) / (size > 0 ? size : 1);
    if (size < 1e-7) /* nothing that single precision could show */
        return false;
    float *w = (float *)pq_calloc((size_t)(a->rows * a->cols), sizeof *w);
    memcpy(w, a->w, (size_t)(a->rows * a->cols) * sizeof *w);
    move(a, a->grad, by);
    const double up = loss_of(p, false);
    memcpy(a->w, w, (size_t)(a->rows * a->cols) * sizeof *w);
    move(a, a->grad, -by);
    const double down = loss_of(p, false);
    memcpy(a->w, w, (size_t)(a->rows * a->cols) * sizeof *w);
    pq_free(w);
    const double found = (up - down) / (2 * by), expected = size * size;
    if (fabs(found - expected) > 0.03 * expected)
        fail_msg("%s: %s: the loss rises by %g along its gradient, expected %g", fixture,
                 a->t->name, found, expected);
    return true;
}

static void gradients_are_derivatives(void **state)
{
    (void)state;
    for (int i = 0; i < MODELIO_FIXTURES; i++) {
        struct pair p;
        int n = 0, matrices = 0;
        const char *source = modelio_fixture(modelio_fixtures[i]);
        pair_open(&p, source, modelio_write(source, modelio_fixtures[i], "gguf", "q4_0", 0));
        loss_of(&p, true);
        for (size_t k = 0; k < p.model->net.n_tensors; k++) {
            struct pq_param *a = &p.s->param[k];
            const bool checked = a->grad && check_param(&p, a, modelio_fixtures[i]);
            n += checked;
            matrices += checked && a->code;
        }
        if (matrices < 4 || n < matrices + 3)
            fail_msg("%s: only %d gradients of %d matrices", modelio_fixtures[i], n, matrices);
        pair_close(&p);
    }
}

/* ---- the whole ---- */

#define SAMPLE PQ_SOURCE_DIR "/models/phiq-sample"

static struct pq_refine_options options(const char *model, const char *out)
{
    struct pq_refine_options o;
    pq_refine_options_default(&o);
    o.model = model;
    o.reference = SAMPLE;
    o.text = PQ_SOURCE_DIR "/README.md";
    o.out = out;
    o.window = 64;
    o.batch = 2;
    o.steps = 12;
    o.rate = 0.002;
    o.threads = 2;
    return o;
}

static json_t *refine(const struct pq_refine_options *o)
{
    json_t *j = NULL;
    struct pq_err e = {0};
    if (pq_refine_model(&j, o, &e) < 0)
        fail_msg("%s", e.msg);
    return j;
}

static const struct {
    const char *target, *scheme;
} written[] = {{"gguf", "q4_k_m"}, {"gguf", "iq4_nl"},  {"mlx", "affine4g64"},
               {"mlx", "mxfp4"},   {"onnx", "int4g32"}, {"openvino", "uint4g64"}};

static uint64_t bytes_of(const char *path)
{
    struct pq_model *m = modelio_load(path);
    const uint64_t n = m->ckpt->file_bytes;
    pq_model_free(m);
    return n;
}

static void every_container_gets_better(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(written); i++) {
        char name[64];
        snprintf(name, sizeof name, "from-%zu", i);
        const char *model = modelio_write(SAMPLE, name, written[i].target, written[i].scheme, 0);
        snprintf(name, sizeof name, "refined-%zu.gguf", i);
        struct pq_refine_options o = options(model, modelio_path(name));
        json_t *j = refine(&o);
        const double before = json_real_value(json_object_get(j, "kld_before"));
        const double after = json_real_value(json_object_get(j, "kld_after"));
        if (!(after < 0.98 * before))
            fail_msg("%s: KL divergence %g before, %g after", written[i].scheme, before, after);
        assert_int_equal(bytes_of(model), bytes_of(o.out));
        json_decref(j);
    }
}

static void same_bytes_for_any_threads(void **state)
{
    (void)state;
    struct pq_buf a = {0}, b = {0};
    const char *model = modelio_write(SAMPLE, "threads", "gguf", "q4_0", 0);
    struct pq_refine_options o = options(model, modelio_path("one.gguf"));
    o.threads = 1;
    json_decref(refine(&o));
    modelio_slurp(o.out, &a);
    o.threads = 3;
    o.out = modelio_path("three.gguf");
    json_decref(refine(&o));
    modelio_slurp(o.out, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    pq_buf_free(&a);
    pq_buf_free(&b);
}

/* ---- what cannot be done ---- */

static void refused(const struct pq_refine_options *o, int code, const char *words)
{
    json_t *j = NULL;
    struct pq_err e = {0};
    assert_int_equal(pq_refine_model(&j, o, &e), code);
    assert_null(j);
    if (!strstr(e.msg, words))
        fail_msg("\"%s\" has no \"%s\"", e.msg, words);
}

static void errors_in_words(void **state)
{
    (void)state;
    const char *model = modelio_write(SAMPLE, "errors", "gguf", "q4_0", 0);
    struct pq_refine_options o = options(model, modelio_path("errors.gguf"));
    o.rate = 1000; /* nothing good comes of it */
    o.steps = 2;
    refused(&o, PQ_EINVAL, "no better");
    assert_int_equal(pq_path_kind(o.out), PQ_PATH_NONE);
    o = options(model, model);
    o.steps = 3;
    refused(&o, PQ_EEXIST, "exists");
    o = options(model, modelio_path("errors.gguf"));
    o.reference = modelio_fixture("phi4");
    refused(&o, PQ_EINVAL, "vocabulary");
    o = options(model, modelio_path("errors.gguf"));
    o.text = modelio_path("tiny.txt");
    modelio_spill(o.text, &(struct pq_buf){.data = (uint8_t *)(uintptr_t) "Once.", .len = 5});
    refused(&o, PQ_EINVAL, "tokens");
    o.text = "/nonexistent";
    refused(&o, PQ_EIO, "/nonexistent");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_the_sessions),
        cmocka_unit_test(gradients_are_derivatives),
        cmocka_unit_test(every_container_gets_better),
        cmocka_unit_test(same_bytes_for_any_threads),
        cmocka_unit_test(errors_in_words),
    };
    return cmocka_run_group_tests(tests, modelio_setup, modelio_teardown);
}
