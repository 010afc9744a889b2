/* Rows of weights for tests of schemes. SPDX-License-Identifier: MIT */
#include "rows.h"

#include <math.h>
#include <string.h>

void rows_encode(const struct pq_scheme *s, const struct pq_kern *k, enum pq_solver solver,
                 const float *x, const float *importance, uint64_t cols, struct coded *c)
{
    void *part[PQ_MAX_PARTS] = {c->part[0], c->part[1], c->part[2]};
    memset(c, 0xa5, sizeof *c);
    pq_scheme_encode(s, k, solver, x, importance, cols, part);
}

void rows_decode(const struct pq_scheme *s, const struct coded *c, uint64_t cols, float *x)
{
    const void *part[PQ_MAX_PARTS] = {c->part[0], c->part[1], c->part[2]};
    s->decode(s, part, cols, x);
}

void rows_through(const struct pq_scheme *s, enum pq_solver solver, const float *x,
                  const float *importance, float *y)
{
    struct coded c;
    rows_encode(s, pq_kern_best(NULL), solver, x, importance, ROW_COLS, &c);
    rows_decode(s, &c, ROW_COLS, y);
}

static float uniform(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) * 0x1p-24f - 0.5f;
}

void rows_normal(unsigned seed, float x[ROW_COLS])
{
    for (int j = 0; j < ROW_COLS; j++) {
        float sum = 0.0f;
        for (int i = 0; i < 12; i++)
            sum += uniform(&seed);
        x[j] = 0.02f * sum;
    }
}

double rows_error(const float *x, const float *y)
{
    double e = 0.0, n = 0.0;
    for (int j = 0; j < ROW_COLS; j++) {
        e += pow((double)x[j] - (double)y[j], 2.0);
        n += pow((double)x[j], 2.0);
    }
    return sqrt(e / n);
}

static float zero(float v, int j)
{
    (void)v, (void)j;
    return 0.0f;
}

static float minus_zero(float v, int j)
{
    (void)v, (void)j;
    return -0.0f;
}

static float constant(float v, int j)
{
    (void)v, (void)j;
    return -0.3f;
}

static float far(float v, int j)
{
    (void)j;
    return 100.0f + v;
}

static float positive(float v, int j)
{
    (void)j;
    return fabsf(v);
}

static float negative(float v, int j)
{
    (void)j;
    return -fabsf(v);
}

static float spikes(float v, int j)
{
    (void)v;
    return j % 77 == 0 ? 3.0f : 0.0f;
}

static float mixed(float v, int j)
{
    return j % 64 == 5 ? 100.0f * v : v;
}

static float ties(float v, int j)
{
    (void)j;
    return rintf(v * 400.0f) / 400.0f;
}

static float tiny(float v, int j)
{
    (void)j;
    return v * 1e-38f;
}

static float below_half(float v, int j)
{
    (void)j;
    return v * 1e-7f;
}

static float large(float v, int j)
{
    (void)j;
    return v * 1e7f;
}

static float huge(float v, int j)
{
    return j % 3 ? copysignf(3e38f, v) : v;
}

static float infinite(float v, int j)
{
    return j % 100 == 7 ? INFINITY : j % 100 == 50 ? -INFINITY : v;
}

static float not_numbers(float v, int j)
{
    return j % 9 == 0 ? NAN : v;
}

static const struct {
    const char *name;
    float (*value)(float v, int j);
} worst[] = {
    {"zero", zero},     {"minus zero", minus_zero}, {"constant", constant},
    {"far", far},       {"positive", positive},     {"negative", negative},
    {"spikes", spikes}, {"mixed", mixed},           {"ties", ties},
    {"tiny", tiny},     {"below half", below_half}, {"large", large},
    {"huge", huge},     {"infinite", infinite},     {"not numbers", not_numbers},
};

const int rows_worst_count = sizeof worst / sizeof *worst;

const char *rows_worst(int i, float x[ROW_COLS])
{
    rows_normal(99u + (unsigned)i, x);
    for (int j = 0; j < ROW_COLS; j++)
        x[j] = worst[i].value(x[j], j);
    return worst[i].name;
}
