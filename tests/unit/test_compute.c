/*
 * Kernels of the forward pass: against sums in double precision, and bit by bit against the plain C
 * level, for shapes that tiles do not divide. SPDX-License-Identifier: MIT
 */
#include "test.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/sys.h"
#include "infer/linear.h"
#include "quant/scheme.h"

#include <math.h>

static uint64_t state_ = 1;

static double uniform(void)
{
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (double)(state_ >> 11) * 0x1p-53;
}

static void fill(float *x, uint64_t n, double size)
{
    for (uint64_t i = 0; i < n; i++)
        x[i] = (float)(size * (2 * uniform() - 1));
}

/* ---- single precision ---- */

enum { ROWS = 11, COLS = 96, TOKENS = 15 };

/* Elements that are stored together, and their bytes. */
static const struct {
    uint64_t unit, bytes;
} stored[PQ_DENSE_TYPES] = {{1, 4}, {1, 2}, {1, 2}, {PQ_Q8_BLOCK, PQ_Q8_BYTES}};

static uint64_t row_bytes(enum pq_dense type, uint64_t cols)
{
    return cols / stored[type].unit * stored[type].bytes;
}

/* A block as GGUF's Q8_0, and what it is worth. */
static void store_block(float *x, uint8_t *to)
{
    float most = 0;
    for (int i = 0; i < PQ_Q8_BLOCK; i++)
        most = fmaxf(most, fabsf(x[i]));
    const uint16_t h = pq_f32_to_f16(most / 127);
    pq_put_le16(to, h);
    for (int i = 0; i < PQ_Q8_BLOCK; i++) {
        const int8_t q = (int8_t)lrintf(fmaxf(-127, fminf(127, x[i] / pq_f16_to_f32(h))));
        to[2 + i] = (uint8_t)q;
        x[i] = pq_f16_to_f32(h) * q;
    }
}

/* Stores x as the type, at an odd address, and puts what it is worth back into x. */
static void store(enum pq_dense type, float *x, uint64_t n, uint8_t *to)
{
    for (uint64_t i = 0; i < n; i += stored[type].unit) {
        if (type == PQ_DENSE_Q8) {
            store_block(x + i, to + i / PQ_Q8_BLOCK * PQ_Q8_BYTES);
        } else if (type == PQ_DENSE_F32) {
            pq_put_le32(to + 4 * i, pq_f32_bits(x[i]));
        } else if (type == PQ_DENSE_F16) {
            pq_put_le16(to + 2 * i, pq_f32_to_f16(x[i]));
            x[i] = pq_f16_to_f32(pq_f32_to_f16(x[i]));
        } else {
            pq_put_le16(to + 2 * i, pq_f32_to_bf16(x[i]));
            x[i] = pq_bf16_to_f32(pq_f32_to_bf16(x[i]));
        }
    }
}

static void test_dots(void **state)
{
    static float w[ROWS * COLS], x[TOKENS * COLS], want[TOKENS * ROWS], got[TOKENS * ROWS];
    static uint8_t bytes[4 * ROWS * COLS + 1];
    const struct pq_compute *c;
    (void)state;
    for (int type = 0; type < PQ_DENSE_TYPES; type++)
        for (uint64_t at = 1; at <= 77; at += 19) {
            const uint64_t cols = pq_round_up(at, stored[type].unit);
            fill(w, ROWS * cols, 1);
            fill(x, TOKENS * cols, 1);
            store((enum pq_dense)type, w, ROWS * cols, bytes + 1);
            for (int l = 0; (c = pq_compute_level(l)); l++) {
                struct pq_dots d = {.w = bytes + 1,
                                    .w_step = row_bytes((enum pq_dense)type, cols),
                                    .rows = ROWS,
                                    .cols = cols,
                                    .x = x,
                                    .x_step = cols,
                                    .n = TOKENS,
                                    .out = l ? got : want,
                                    .out_step = ROWS};
                memset(d.out, 0xff, sizeof got);
                c->dots[type](&d);
                for (uint64_t t = 0; t < TOKENS; t++)
                    for (uint64_t r = 0; r < ROWS; r++) {
                        double sum = 0, size = 0;
                        for (uint64_t k = 0; k < cols; k++) {
                            sum += (double)w[r * cols + k] * (double)x[t * cols + k];
                            size += fabs((double)w[r * cols + k] * (double)x[t * cols + k]);
                        }
                        assert_true(fabs(sum - (double)d.out[t * ROWS + r]) <= 1e-6 * size);
                    }
                if (l && memcmp(want, got, sizeof got))
                    fail_msg("%s: dots of type %d and %d columns differ", c->level, type,
                             (int)cols);
            }
        }
}

static void test_mix(void **state)
{
    enum { DIMS = 480 }; /* all but 32 of them: 8, 4, 2 and 1 times 16 are left at some point */
    static float v[ROWS * DIMS], p[TOKENS * ROWS], want[TOKENS * DIMS], got[TOKENS * DIMS];
    static uint8_t bytes[4 * ROWS * DIMS + 1];
    const struct pq_compute *c;
    (void)state;
    for (int type = 0; type < PQ_DENSE_TYPES; type++) {
        fill(v, ROWS * DIMS, 1);
        fill(p, TOKENS * ROWS, 1);
        store((enum pq_dense)type, v, ROWS * DIMS, bytes + 1);
        for (int l = 0; (c = pq_compute_level(l)); l++) {
            struct pq_mix m = {.v = bytes + 1,
                               .v_step = row_bytes((enum pq_dense)type, DIMS),
                               .rows = ROWS,
                               .dims = type == PQ_DENSE_Q8 ? DIMS : DIMS - 16,
                               .p = p,
                               .p_step = ROWS,
                               .n = TOKENS,
                               .out = l ? got : want,
                               .out_step = DIMS};
            for (int i = 0; i < TOKENS * DIMS; i++)
                m.out[i] = 0.25f;
            c->mix[type](&m);
            for (int t = 0; t < TOKENS; t++)
                for (int d = 0; d < (int)m.dims; d++) {
                    double sum = 0.25;
                    for (int r = 0; r < ROWS; r++)
                        sum += (double)p[t * ROWS + r] * (double)v[r * DIMS + d];
                    assert_true(fabs(sum - (double)m.out[t * DIMS + d]) < 1e-5);
                }
            if (l && memcmp(want, got, sizeof got))
                fail_msg("%s: mix of type %d differs", c->level, type);
        }
    }
}

/* What is kept is near what came in: within half a step of a block's 127th part. */
static void check_kept(enum pq_dense type, const float *x, uint64_t n, const uint8_t *kept)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint8_t *block = kept + i / PQ_Q8_BLOCK * PQ_Q8_BYTES;
        double y = 0, most = 0, bound = 0;
        for (uint64_t k = i - i % PQ_Q8_BLOCK; k < i - i % PQ_Q8_BLOCK + PQ_Q8_BLOCK; k++)
            most = fmax(most, fabs((double)x[k]));
        if (type == PQ_DENSE_Q8) {
            y = (double)pq_f16_to_f32(pq_le16(block)) * (int8_t)block[2 + i % PQ_Q8_BLOCK];
            bound = most * 0.51 / 127 + 0x1p-24 * 64;
        } else if (type == PQ_DENSE_F16) {
            y = (double)pq_f16_to_f32(pq_le16(kept + 2 * i));
            bound = fabs((double)x[i]) * 0x1p-11 + 0x1p-25;
        } else {
            y = (double)pq_bits_f32(pq_le32(kept + 4 * i));
        }
        if (fabs(y - (double)x[i]) > bound)
            fail_msg("type %d: %g kept as %g", type, (double)x[i], y);
    }
}

static void test_keep(void **state)
{
    enum { N = 256 };
    static float x[N];
    static uint8_t want[4 * N], got[4 * N];
    const struct pq_compute *c;
    (void)state;
    fill(x, N, 3);
    fill(x + 32, 32, 1e-6);
    fill(x + 64, 32, 6e4);
    memset(x + 96, 0, 32 * sizeof *x);
    for (int type = 0; type < PQ_DENSE_TYPES; type++)
        for (int l = 0; (c = pq_compute_level(l)) && c->keep[type]; l++) {
            memset(l ? got : want, 0, sizeof got);
            c->keep[type](x, N, l ? got : want);
            check_kept((enum pq_dense)type, x, N, l ? got : want);
            if (l && memcmp(want, got, sizeof got))
                fail_msg("%s: type %d is kept in another way", c->level, type);
        }
}

/* Numbers that are none, or out of range, leave blocks of numbers all the same. */
static void test_keep_hostile(void **state)
{
    static const float hostile[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-40f, -1e-40f};
    const struct pq_compute *c;
    (void)state;
    for (size_t i = 0; i < PQ_LEN(hostile); i++)
        for (int l = 0; (c = pq_compute_level(l)); l++) {
            float x[PQ_Q8_BLOCK] = {1, hostile[i], -2};
            uint8_t kept[PQ_Q8_BYTES];
            x[31] = hostile[i];
            c->keep[PQ_DENSE_Q8](x, PQ_Q8_BLOCK, kept);
            assert_true(isfinite(pq_f16_to_f32(pq_le16(kept))));
        }
}

/* Every function of a row, with what it should be and how near. */
static double silu(double x, double up)
{
    return x / (1 + exp(-x)) * up;
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
}

static void test_rows(void **state)
{
    enum { N = 203 };
    static float x[N], up[N], y[3][N];
    float first[3][N], sums[2] = {0};
    const struct pq_compute *c;
    (void)state;
    fill(x, N, 12);
    fill(up, N, 2);
    x[7] = -100, x[8] = 100, x[9] = 0;
    for (int l = 0; (c = pq_compute_level(l)); l++) {
        double sum = 0;
        float most = c->largest(x, N);
        for (int k = 0; k < 3; k++)
            memcpy(y[k], x, sizeof x);
        float got = c->exp_sum(y[0], N, most);
        c->silu_mul(y[1], up, N);
        c->gelu(y[2], N);
        for (int i = 0; i < N; i++) {
            double want = exp((double)x[i] - (double)most);
            sum += want;
            assert_true(x[i] <= most);
            assert_true(fabs(want - (double)y[0][i]) <= 3e-7 * want + 1e-37);
            want = silu((double)x[i], (double)up[i]);
            assert_true(fabs(want - (double)y[1][i]) <= 1e-6 * fabs(want) + 1e-30);
            want = gelu((double)x[i]);
            assert_true(fabs(want - (double)y[2][i]) <= 1e-6 * fabs(want) + 1e-6);
        }
        assert_true(fabs(sum - (double)got) < 1e-6 * sum && most == 100.0f);
        if (!l) {
            memcpy(first, y, sizeof y);
            sums[0] = got;
        }
        if (memcmp(first, y, sizeof y) || got != sums[0])
            fail_msg("%s: a row function differs", c->level);
    }
}

static void test_norms(void **state)
{
    enum { N = 203 };
    static float x[N], weight[N], bias[N], y[2][N], first[2][N];
    const struct pq_compute *c;
    double mean = 0, square = 0;
    (void)state;
    fill(x, N, 3);
    fill(weight, N, 1);
    fill(bias, N, 1);
    for (int i = 0; i < N; i++) {
        mean += (double)x[i] / N;
        square += (double)x[i] * (double)x[i] / N;
    }
    for (int l = 0; (c = pq_compute_level(l)); l++) {
        c->norm_rms(x, N, 1e-5, weight, y[0]);
        c->norm_layer(x, N, 1e-5, weight, bias, y[1]);
        for (int i = 0; i < N; i++) {
            double rms = (double)x[i] / sqrt(square + 1e-5) * (double)weight[i];
            double layer = ((double)x[i] - mean) / sqrt(square - mean * mean + 1e-5);
            layer = layer * (double)weight[i] + (double)bias[i];
            assert_true(fabs(rms - (double)y[0][i]) < 1e-6);
            assert_true(fabs(layer - (double)y[1][i]) < 1e-6);
        }
        if (!l)
            memcpy(first, y, sizeof y);
        assert_memory_equal(first, y, sizeof y);
    }
}

/* ---- integers ---- */

/* A strip, its tile and panels of every width, for up to MOST columns. */
enum { MOST = 1024, GROUPS = MOST / 16 };

struct integers {
    struct pq_tensor tensor;
    struct pq_code_rule rule;
    uint8_t *part[PQ_MAX_PARTS];
    uint8_t q[16 * MOST], tq[16 * MOST];
    float scale[16 * GROUPS], offset[16 * GROUPS], tscale[16 * GROUPS], toffset[16 * GROUPS];
    struct pq_strip s;
    struct pq_tile t;
};

/* Blocks of 4-bit floats with powers of two near 1 / 100. */
static void random_row(uint8_t *b, uint64_t cols, bool worst)
{
    for (uint64_t i = 0; i < cols / 32; i++, b += 17) {
        b[0] = (uint8_t)(120 + uniform() * 4);
        for (int k = 1; k < 17; k++)
            b[k] = (uint8_t)(worst ? 0x77 : uniform() * 256);
    }
}

/* Sixteen rows of a scheme; weights of `size`, or those that give the largest codes. */
static bool rows_of(struct integers *m, const struct pq_scheme *s, uint64_t cols, bool worst)
{
    float x[MOST];
    *m = (struct integers){.tensor = {.rows = 16, .cols = cols, .n_slices = 1}};
    m->tensor.slice[0].rows = 16;
    m->tensor.slice[0].view = (struct pq_view){.scheme = s, .rows = 16, .cols = cols};
    const bool random = !strcmp(s->name, "mxfp4-gguf"); /* is only read */
    if ((s->encoder == PQ_ENC_NONE && !random) || cols % s->block)
        return false;
    for (int i = 0; i < PQ_MAX_PARTS; i++) {
        m->part[i] = (uint8_t *)pq_calloc(16, (size_t)pq_scheme_part_bytes(s, cols, i) + 1);
        m->tensor.slice[0].view.part[i] = pq_scheme_part_bytes(s, cols, i) ? m->part[i] : NULL;
    }
    m->rule = pq_code_rule_of(&m->tensor);
    for (uint64_t r = 0; r < 16; r++) {
        void *part[PQ_MAX_PARTS];
        for (int i = 0; i < PQ_MAX_PARTS; i++)
            part[i] = m->part[i] + r * pq_scheme_part_bytes(s, cols, i);
        fill(x, cols, 0.05);
        for (uint64_t k = 0; worst && k < cols; k++)
            x[k] = k % 64 ? 0.05f : -0.05f;
        if (random)
            random_row(part[0], cols, worst);
        else
            pq_scheme_encode(s, pq_kern_best(NULL), PQ_SOLVER_RTN, x, NULL, cols, part);
    }
    m->s = (struct pq_strip){.step = pq_round_up(cols, PQ_STRIP_STEP),
                             .cols = cols,
                             .group = m->rule.group,
                             .zero = m->rule.zero,
                             .has_offsets = m->rule.has_offsets,
                             .bits = m->rule.bits,
                             .q = m->q,
                             .scale = m->scale,
                             .offset = m->offset};
    m->t = (struct pq_tile){m->tq, m->tscale, m->toffset};
    return true;
}

static void free_rows(struct integers *m)
{
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        pq_free(m->part[i]);
}

static struct pq_codes_in row_at(const struct integers *m, uint64_t r)
{
    const struct pq_view *v = &m->tensor.slice[0].view;
    struct pq_codes_in in = m->rule.in;
    for (int i = 0; i < PQ_MAX_PARTS; i++)
        if (v->part[i])
            in.part[i] = v->part[i] + r * pq_scheme_part_bytes(v->scheme, v->cols, i);
    return in;
}

static void spread(struct integers *m, const struct pq_compute *c, bool keep_zeros)
{
    for (uint64_t r = 0; r < 16; r++) {
        struct pq_codes_in in = row_at(m, r);
        in.keep_zeros = keep_zeros;
        c->spread[m->rule.type](&in, m->q + r * m->s.step, m->scale + r * m->s.step / m->s.group,
                                m->offset + r * m->s.step / m->s.group);
    }
}

/* What the codes are worth is what the scheme decodes. */
static void check_spread(const struct integers *m, const char *level)
{
    const struct pq_view *v = &m->tensor.slice[0].view;
    float x[MOST];
    for (uint64_t r = 0; r < 16; r++) {
        pq_view_row(v, NULL, r, x);
        for (uint64_t k = 0; k < v->cols; k++) {
            uint64_t g = r * m->s.step / m->s.group + k / m->s.group;
            int code = m->q[r * m->s.step + k];
            float y = m->scale[g] * (float)(code - m->s.zero);
            if (m->s.has_offsets)
                y += m->offset[g];
            assert_true(code < 1 << m->s.bits);
            if (fabsf(x[k] - y) > 1e-6f * fabsf(x[k]) + 1e-8f)
                fail_msg("%s, %s: row %d column %d is %g, expected %g", v->scheme->name, level,
                         (int)r, (int)k, (double)y, (double)x[k]);
        }
    }
}

struct acts {
    int8_t q[PQ_PANEL * MOST];
    float scale[PQ_PANEL * GROUPS], shift[PQ_PANEL * GROUPS];
    int32_t start[PQ_PANEL * GROUPS], sum[PQ_PANEL * GROUPS];
};

/* Products of all sixteen rows with a panel, by tile, and by strip where it is one token wide. */
static void products(const struct integers *m, const struct pq_compute *c, const float *x,
                     uint64_t width, float out[PQ_PANEL * 16])
{
    static struct acts a;
    const struct pq_panel p = {width, a.q, a.scale, a.start, a.sum, a.shift};
    float strip[16];
    struct pq_codes_in in[16];
    memset(&a, 0x55, sizeof a);
    c->round_panel(&m->s, x, m->s.cols, &p);
    c->tile_dots(&m->s, &m->t, &p, out);
    if (width > 1)
        return;
    c->strip_dots(&m->s, &p, strip);
    if (memcmp(strip, out, sizeof strip))
        fail_msg("%s, %s: strip and tile differ", m->tensor.slice[0].view.scheme->name, c->level);
    for (uint64_t r = 0; r < 16; r++)
        in[r] = row_at(m, r);
    if (c->stream_dots(m->rule.type, in, &m->s, &p, strip) && memcmp(strip, out, sizeof strip))
        fail_msg("%s, %s: stream and tile differ", m->tensor.slice[0].view.scheme->name, c->level);
}

/* Against the decoded weights and the activations as they were: 8 bits lose little. */
static void check_products(const struct integers *m, const float *x, uint64_t width,
                           const float *out)
{
    const struct pq_view *v = &m->tensor.slice[0].view;
    float w[MOST];
    for (uint64_t r = 0; r < 16; r++) {
        pq_view_row(v, NULL, r, w);
        for (uint64_t t = 0; t < width; t++) {
            double sum = 0, size = 0, most = 0;
            for (uint64_t k = 0; k < v->cols; k++) {
                for (uint64_t i = k; k % 32 == 0 && i < k + 32; i++)
                    most = fmax(i > k ? most : 0, fabs((double)x[t * v->cols + i]));
                sum += (double)w[k] * (double)x[t * v->cols + k];
                size += fabs((double)w[k]) * most;
            }
            if (fabs(sum - (double)out[t * 16 + r]) > size * 0.51 / 127)
                fail_msg("%s: row %d token %d is %g, expected %g", v->scheme->name, (int)r, (int)t,
                         (double)out[t * 16 + r], sum);
        }
    }
}

static void check_scheme(const struct pq_scheme *s, uint64_t cols, bool worst)
{
    static struct integers m;
    static float x[PQ_PANEL * MOST], want[3][PQ_PANEL * 16], got[3][PQ_PANEL * 16];
    static const uint64_t widths[] = {1, 4, PQ_PANEL};
    const struct pq_compute *c;
    if (!rows_of(&m, s, cols, worst) || m.rule.type == PQ_CODES_TYPES) {
        free_rows(&m);
        return;
    }
    fill(x, PQ_PANEL * cols, 3);
    for (uint64_t k = 0; worst && k < PQ_PANEL * cols; k++)
        x[k] = k % 64 < 32 ? 3.0f : -3.0f;
    for (int l = 0; (c = pq_compute_level(l)); l++) {
        memset(m.q, 0xff, sizeof m.q);
        spread(&m, c, false);
        check_spread(&m, c->level);
        c->turn(&m.s, &m.t);
        for (int w = 0; w < 3; w++) {
            products(&m, c, x, widths[w], l ? got[w] : want[w]);
            check_products(&m, x, widths[w], l ? got[w] : want[w]);
            if (l && memcmp(want[w], got[w], widths[w] * 16 * sizeof(float)))
                fail_msg("%s, %s: %d tokens differ", s->name, c->level, (int)widths[w]);
        }
    }
    free_rows(&m);
}

static void test_integers(void **state)
{
    static const uint64_t cols[] = {32, 192, 544, 768};
    const struct pq_scheme *s;
    (void)state;
    for (int i = 0; (s = pq_scheme_at(i)); i++)
        for (size_t k = 0; k < PQ_LEN(cols) && s->family != PQ_FAM_FLOAT; k++) {
            check_scheme(s, cols[k], false);
            check_scheme(s, cols[k], true);
        }
}

/* Scales in single precision need not be halves. */
static void roughen_scales(struct integers *m)
{
    const struct pq_scheme *s = m->tensor.slice[0].view.scheme;
    const uint64_t n = s->aux == PQ_F32 ? 16 * pq_scheme_part_bytes(s, m->s.cols, 1) / 4 : 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t bits = pq_le32(m->part[1] + 4 * i);
        pq_put_le32(m->part[1] + 4 * i, bits ^ (uint32_t)(uniform() * 4096));
    }
}

/* Widened codes are what the scheme decodes, and not only nearly. */
static void check_widen(const struct pq_scheme *s, uint64_t cols)
{
    static struct integers m;
    static float got[16 * MOST], want[MOST];
    const struct pq_compute *c;
    if (rows_of(&m, s, cols, false) && m.rule.type != PQ_CODES_TYPES) {
        roughen_scales(&m);
        m.s.offsets_are_zeros =
            m.rule.in.zeros == PQ_ZERO_NIBBLES || m.rule.in.zeros == PQ_ZERO_BYTES;
        for (int l = 0; (c = pq_compute_level(l)); l++) {
            spread(&m, c, true);
            c->widen(&m.s, 16, got);
            for (uint64_t r = 0; r < 16; r++) {
                pq_view_row(&m.tensor.slice[0].view, NULL, r, want);
                for (uint64_t k = 0; k < cols; k++)
                    if (got[r * cols + k] != want[k])
                        fail_msg("%s, %s: row %d column %d is %g, decoded %g", s->name, c->level,
                                 (int)r, (int)k, (double)got[r * cols + k], (double)want[k]);
            }
        }
    }
    free_rows(&m);
}

static void test_widen(void **state)
{
    const struct pq_scheme *s;
    (void)state;
    for (int i = 0; (s = pq_scheme_at(i)); i++)
        for (uint64_t cols = 256; cols <= 768 && s->family != PQ_FAM_FLOAT; cols += 256)
            check_widen(s, cols);
}

/* The schemes that people use have integer products. */
static void test_which(void **state)
{
    static const char *const names[] = {
        "q4_0",           "q4_1",        "q5_0",       "q5_1",        "q8_0",
        "q4_k",           "q5_k",        "q6_k",       "int4g32",     "uint4g32",
        "int4g128",       "int8c",       "uint8g64",   "affine4g64",  "affine8g64",
        "int4g32_signed", "int4g32_f32", "q2_k",       "q3_k",        "iq4_nl",
        "iq4_xs",         "affine2g64",  "affine3g32", "affine5g128", "affine6g64_f32",
        "mxfp4",          "nvfp4",       "mxfp4-gguf", "int4g16",     "uint4g16",
        "int8g16",        "uint8g16"};
    static struct integers m;
    (void)state;
    for (size_t i = 0; i < PQ_LEN(names); i++) {
        const struct pq_scheme *s = pq_scheme_find(names[i]);
        if (!s || !rows_of(&m, s, 1024, false) || m.rule.type == PQ_CODES_TYPES)
            fail_msg("%s has no integer products", names[i]);
        free_rows(&m);
    }
}

/* The least of some times: others use this machine too. */
static double seconds_of(const struct pq_compute *c, uint64_t rounds)
{
    double least = 1e9;
    for (int i = 0; i < 5; i++) {
        uint32_t sink = 1;
        double t0 = pq_now();
        c->peak_macs(rounds, &sink);
        double t = pq_now() - t0;
        least = t < least ? t : least;
    }
    return least;
}

/* A yardstick: as many products as were asked for, in a time that grows with them. */
static void test_peak(void **state)
{
    const struct pq_compute *c;
    (void)state;
    for (int l = 0; (c = pq_compute_level(l)); l++) {
        uint32_t sink = 1;
        const uint64_t one = c->peak_macs(1, &sink);
        assert_true(one > 0);
        assert_int_equal(c->peak_macs(1000, &sink), 1000 * one);
        const double few = seconds_of(c, 20000), many = seconds_of(c, 1000000);
        if (!(many > 10 * few))
            fail_msg("%s: %g s for 50 times what took %g s", c->level, many, few);
    }
}

static void test_levels(void **state)
{
    (void)state;
    assert_string_equal(pq_compute_level(0)->level, "c");
    assert_string_equal(pq_compute_best("c")->level, "c");
    assert_null(pq_compute_best("mmx"));
    for (int l = 0; pq_compute_level(l); l++)
        assert_ptr_equal(pq_compute_best(pq_compute_level(l)->level), pq_compute_level(l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),   cmocka_unit_test(test_dots),
        cmocka_unit_test(test_mix),      cmocka_unit_test(test_rows),
        cmocka_unit_test(test_norms),    cmocka_unit_test(test_which),
        cmocka_unit_test(test_integers), cmocka_unit_test(test_widen),
        cmocka_unit_test(test_keep),     cmocka_unit_test(test_keep_hostile),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
