/* Weights per second of every encoder, level and solver. SPDX-License-Identifier: MIT */
#include "quant/scheme.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLS = 4096, ROWS = 16 };

static double now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Roughly normal: the sum of four uniforms. */
static void fill(float *x, size_t n)
{
    uint32_t seed = 1;
    for (size_t i = 0; i < n; i++) {
        float u = -2.0f;
        for (int k = 0; k < 4; k++) {
            seed = seed * 1664525u + 1013904223u;
            u += (float)(seed >> 8) * 0x1p-24f;
        }
        x[i] = 0.03f * u;
    }
}

/* The best of several runs, in millions of weights per second. */
static double rate(const struct pq_scheme *s, const struct pq_kern *k, enum pq_solver solver,
                   const float *x)
{
    static uint8_t out[PQ_MAX_PARTS][COLS * 8];
    void *part[PQ_MAX_PARTS];
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        part[i] = out[i];
    double best = 1e9, begin = now();
    while (now() - begin < 0.2) {
        double t = now();
        for (int r = 0; r < ROWS; r++)
            pq_scheme_encode(s, k, solver, x + r * COLS, NULL, COLS, part);
        t = now() - t;
        best = t < best ? t : best;
    }
    return 1e-6 * COLS * ROWS / best;
}

/* bench_encode [SCHEME [LEVEL]] */
int main(int argc, char **argv)
{
    static float x[ROWS * COLS];
    fill(x, ROWS * COLS);
    printf("%-16s %-8s %12s %12s  Mweights/s/core\n", "scheme", "level", "rtn", "search");
    const struct pq_scheme *s;
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++) {
        const struct pq_kern *k;
        if (s->encoder == PQ_ENC_NONE || (argc > 1 && strcmp(argv[1], s->name)))
            continue;
        for (int l = 0; (k = pq_kern_level(l)) != NULL; l++)
            if (k->encode[s->encoder] && (argc < 3 || !strcmp(argv[2], k->level)))
                printf("%-16s %-8s %12.1f %12.1f\n", s->name, k->level,
                       rate(s, k, PQ_SOLVER_RTN, x), rate(s, k, PQ_SOLVER_SEARCH, x));
    }
    return 0;
}
