/*
 * Recipes, choices and plans over networks with the shapes of real models. The counts and sizes are
 * those of llama-quantize itself (dry runs of its tree of 2026-09 on Phi-shaped files).
 * SPDX-License-Identifier: MIT
 */
#include "test.h"

#include "base/num.h"
#include "container/common.h"
#include "synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const struct pq_container *gguf, *mlx;

static const struct pq_scheme **choose(const struct pq_container *c, struct pq_model *m,
                                       const char *recipe, struct pq_request *r)
{
    struct pq_err e = {0};
    const struct pq_scheme **choice =
        (const struct pq_scheme **)pq_arena_alloc(&m->arena, m->net.n_tensors, sizeof *choice);
    r->recipe = pq_recipe_find(c, recipe);
    if (!r->recipe)
        fail_msg("%s has no recipe %s", c->name, recipe);
    if (pq_choose(c, m, r, choice, &e) < 0)
        fail_msg("%s %s: %s", c->name, recipe, e.msg);
    return choice;
}

/* ---- recipes ---- */

static const struct counts_row {
    const struct synth_shape *shape;
    const char *recipe;
    struct {
        const char *scheme;
        int n;
    } want[4];
} counts[] = {
    {&synth_phi35_mini, "q4_k_m", {{"q4_k", 97}, {"q6_k", 33}}},
    {&synth_phi35_mini, "q5_k_m", {{"q5_k", 97}, {"q6_k", 33}}},
    {&synth_phi35_mini, "q4_k_s", {{"q4_k", 121}, {"q5_k", 8}, {"q6_k", 1}}},
    {&synth_phi35_mini, "q3_k_m", {{"q3_k", 33}, {"q4_k", 92}, {"q5_k", 4}, {"q6_k", 1}}},
    {&synth_phi35_mini, "q3_k_s", {{"q3_k", 129}, {"q6_k", 1}}},
    {&synth_phi35_mini, "q3_k_l", {{"q3_k", 33}, {"q5_k", 96}, {"q6_k", 1}}},
    {&synth_phi35_mini, "q2_k", {{"q2_k", 33}, {"q3_k", 96}, {"q6_k", 1}}},
    {&synth_phi35_mini, "q8_0", {{"q8_0", 130}}},
    {&synth_phi35_mini, "q6_k", {{"q6_k", 130}}},
    {&synth_phi35_mini, "iq4_xs", {{"iq4_xs", 125}, {"q5_k", 4}, {"q6_k", 1}}},
    {&synth_phi35_mini, "pure-q4_0", {{"q4_0", 130}}},
    {&synth_phi4, "q4_k_m", {{"q4_k", 121}, {"q6_k", 41}}},
    {&synth_phi4, "iq4_xs", {{"iq4_xs", 116}, {"q5_k", 45}, {"q6_k", 1}}},
    {&synth_phi4_mini, "q4_k_m", {{"q4_k", 96}, {"q6_k", 33}}},
};

static void test_recipe_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(counts); i++) {
        const struct counts_row *row = &counts[i];
        struct pq_model m;
        struct pq_request r = {0};
        synth_model(&m, row->shape);
        const struct pq_scheme **choice = choose(gguf, &m, row->recipe, &r);
        int matrices = 0, expected = 0;
        for (int k = 0; k < 4 && row->want[k].scheme; k++) {
            int n = 0;
            for (size_t t = 0; t < m.net.n_tensors; t++)
                n += pq_role_is_matrix(m.net.tensor[t].role) &&
                     !strcmp(choice[t]->name, row->want[k].scheme);
            if (n != row->want[k].n)
                fail_msg("%s %s: %d tensors of %s, expected %d", row->shape->name, row->recipe, n,
                         row->want[k].scheme, row->want[k].n);
            expected += n;
        }
        for (size_t t = 0; t < m.net.n_tensors; t++)
            if (pq_role_is_matrix(m.net.tensor[t].role))
                matrices++;
            else
                assert_string_equal(choice[t]->name, "f32");
        assert_int_equal(matrices, expected);
        pq_arena_free(&m.arena);
    }
}

/* MiB of all tensors, and bits per weight where the tool printed them (0 = not). */
static const struct size_row {
    const struct synth_shape *shape;
    const char *recipe;
    int mib;
    double bpw;
} sizes[] = {
    {&synth_phi2, "q8_0", 2816, 0},
    {&synth_phi2, "q6_k", 2174, 0},
    {&synth_phi2, "q5_k_m", 1905, 5.75},
    {&synth_phi2, "q4_k_m", 1652, 4.99},
    {&synth_phi2, "q4_k_s", 1539, 4.65},
    {&synth_phi2, "iq4_xs", 1460, 4.41},
    {&synth_phi2, "q4_0", 1523, 4.60},
    {&synth_phi2, "q3_k_m", 1355, 4.09},
    {&synth_phi2, "q2_k", 1053, 3.18},
    {&synth_phi35_mini, "q8_0", 3872, 8.50},
    {&synth_phi35_mini, "q6_k", 2990, 6.56},
    {&synth_phi35_mini, "q5_k_m", 2627, 5.77},
    {&synth_phi35_mini, "q4_k_m", 2285, 5.02},
    {&synth_phi35_mini, "q4_k_s", 2100, 4.61},
    {&synth_phi35_mini, "iq4_xs", 1979, 4.34},
    {&synth_phi35_mini, "q4_0", 2075, 4.55},
    {&synth_phi35_mini, "q3_k_m", 1871, 4.11},
    {&synth_phi35_mini, "q2_k", 1438, 3.16},
    {&synth_phi4_mini, "q8_0", 3888, 0},
    {&synth_phi4_mini, "q6_k", 3002, 0},
    {&synth_phi4_mini, "q5_k_m", 2676, 5.85},
    {&synth_phi4_mini, "q4_k_m", 2370, 5.18},
    {&synth_phi4_mini, "q4_k_s", 2229, 4.87},
    {&synth_phi4_mini, "iq4_xs", 2129, 4.65},
    {&synth_phi4_mini, "q4_0", 2210, 4.83},
    {&synth_phi4_mini, "q3_k_m", 2015, 4.41},
    {&synth_phi4_mini, "q2_k", 1646, 3.60},
    {&synth_phi4, "q8_0", 14855, 0},
    {&synth_phi4, "q6_k", 11470, 0},
    {&synth_phi4, "q5_k_m", 10010, 5.73},
    {&synth_phi4, "q4_k_m", 8636, 4.94},
    {&synth_phi4, "q4_k_s", 8065, 4.62},
    {&synth_phi4, "iq4_xs", 7873, 4.51},
    {&synth_phi4, "q4_0", 7992, 4.57},
    {&synth_phi4, "q3_k_m", 7028, 4.02},
    {&synth_phi4, "q2_k", 5639, 3.23},
};

static void test_recipe_sizes(void **state)
{
    (void)state;
    for (size_t i = 0; i < PQ_LEN(sizes); i++) {
        struct pq_model m;
        struct pq_request r = {0};
        synth_model(&m, sizes[i].shape);
        const struct pq_scheme **choice = choose(gguf, &m, sizes[i].recipe, &r);
        double bytes = 0, weights = 0;
        for (size_t t = 0; t < m.net.n_tensors; t++) {
            const struct pq_tensor *x = &m.net.tensor[t];
            if (strstr(x->name, ".bias")) /* the tool's Phi-2 file was made without them */
                continue;
            bytes += (double)(x->rows * pq_scheme_row_bytes(choice[t], x->cols));
            weights += (double)(x->rows * x->cols);
        }
        double mib = bytes / 1048576, bpw = 8 * bytes / weights;
        if (fabs(mib - sizes[i].mib) > 0.51 ||
            (sizes[i].bpw > 0 && fabs(bpw - sizes[i].bpw) > 0.0051))
            fail_msg("%s %s: %.2f MiB, %.3f bpw; llama-quantize has %d, %.2f", sizes[i].shape->name,
                     sizes[i].recipe, mib, bpw, sizes[i].mib, sizes[i].bpw);
        pq_arena_free(&m.arena);
    }
}

/* Every row of every table works on every shape, and holds what it promises. */
static void test_every_recipe(void **state)
{
    static const struct synth_shape *const shapes[] = {&synth_phi2, &synth_phi35_mini, &synth_phi4,
                                                       &synth_phi4_mini};
    (void)state;
    for (const struct pq_container *const *c = pq_containers; *c; c++) {
        if (!(*c)->plan)
            continue;
        for (int p = 0; p < PQ_PRECISIONS; p++)
            assert_non_null(pq_recipe_find(*c, (*c)->usual[p]));
        for (const struct pq_recipe *rec = (*c)->recipes; rec->name; rec++)
            for (size_t k = 0; k < PQ_LEN(shapes); k++) {
                struct pq_model m;
                struct pq_request r = {0};
                synth_model(&m, shapes[k]);
                const struct pq_scheme **choice = choose(*c, &m, rec->name, &r);
                for (size_t t = 0; t < m.net.n_tensors; t++) {
                    assert_true((*c)->holds(choice[t]));
                    assert_int_equal(m.net.tensor[t].cols % choice[t]->block, 0);
                }
                pq_arena_free(&m.arena);
            }
    }
}

static void test_more_bits(void **state)
{
    static const int want[] = {0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31};
    size_t k = 0;
    (void)state;
    for (int i = 0; i < 32; i++)
        if (pq_container_more_bits(i, 32))
            assert_int_equal(i, want[k++]);
    assert_int_equal(k, PQ_LEN(want));
}

/* Rows of 960 (no multiple of 256) and of 90 (no multiple of 32). */
static void test_fallback(void **state)
{
    static const struct {
        uint32_t hidden;
        const char *recipe, *gate_up, *head;
    } rows[] = {
        {960, "q2_k", "q4_0", "q8_0"},   {960, "q4_k_m", "q5_0", "q8_0"},
        {960, "q5_k_m", "q5_1", "q8_0"}, {960, "iq4_xs", "iq4_nl", "q8_0"},
        {960, "q4_0", "q4_0", "q8_0"},   {960, "q6_k", "q8_0", "q8_0"},
        {90, "q4_k_m", "f16", "f16"},    {90, "q8_0", "f16", "f16"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct synth_shape s = {"odd", "phi3", 2, rows[i].hidden, 256, 1, 1, 320, 2, false, false};
        struct pq_model m;
        struct pq_request r = {0};
        synth_model(&m, &s);
        const struct pq_scheme **choice = choose(gguf, &m, rows[i].recipe, &r);
        for (size_t t = 0; t < m.net.n_tensors; t++) {
            if (m.net.tensor[t].role == PQ_ROLE_FFN_GATE_UP)
                assert_string_equal(choice[t]->name, rows[i].gate_up);
            if (m.net.tensor[t].role == PQ_ROLE_HEAD)
                assert_string_equal(choice[t]->name, rows[i].head);
        }
        choice = choose(mlx, &m, "affine4g64", &r);
        for (size_t t = 0; t < m.net.n_tensors; t++)
            if (m.net.tensor[t].role == PQ_ROLE_HEAD)
                assert_string_equal(choice[t]->name,
                                    rows[i].hidden % 64 ? "bf16" : choice[t]->name);
        pq_arena_free(&m.arena);
    }
}

/* ---- what the user may say ---- */

static void test_glob(void **state)
{
    static const struct {
        const char *pattern, *s;
        bool want;
    } rows[] = {
        {"*", "", true},
        {"*", "abc", true},
        {"", "", true},
        {"", "a", false},
        {"a*c", "abbc", true},
        {"a*c", "abcd", false},
        {"*.down_proj.*", "model.layers.3.mlp.down_proj.weight", true},
        {"*.down_proj", "model.layers.3.mlp.down_proj.weight", false},
        {"a?c", "abc", true},
        {"a?c", "ac", false},
        {"**a**", "bab", true},
        {"*a*b*a*", "xaybzaw", true},
        {"*a*b*a*", "xaybzw", false},
        {"layers.?.x", "layers.12.x", false},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        if (pq_container_glob(rows[i].pattern, rows[i].s) != rows[i].want)
            fail_msg("'%s' against '%s'", rows[i].pattern, rows[i].s);
}

static const struct pq_scheme *scheme_of(const struct pq_model *m, const struct pq_scheme **choice,
                                         const char *name)
{
    const struct pq_tensor *t = pq_network_find(&m->net, name);
    assert_non_null(t);
    return choice[t - m->net.tensor];
}

static void test_wishes(void **state)
{
    static const struct pq_rule rules[] = {
        {"*.0.mlp.down_proj.*", "q8_0"}, {"*down_proj*", "q5_k"}, {"lm_head.weight", "f16"}};
    struct pq_model m;
    struct pq_request r = {
        .embed_scheme = "Q8_0", .head_scheme = "q5_k", .rule = rules, .n_rules = PQ_LEN(rules)};
    (void)state;
    synth_model(&m, &synth_phi35_mini);
    const struct pq_scheme **choice = choose(gguf, &m, "q4_k_m", &r);
    assert_string_equal(scheme_of(&m, choice, "model.layers.0.mlp.down_proj.weight")->name, "q8_0");
    assert_string_equal(scheme_of(&m, choice, "model.layers.1.mlp.down_proj.weight")->name, "q5_k");
    assert_string_equal(scheme_of(&m, choice, "model.embed_tokens.weight")->name, "q8_0");
    assert_string_equal(scheme_of(&m, choice, "lm_head.weight")->name, "f16");
    assert_string_equal(scheme_of(&m, choice, "model.norm.weight")->name, "f32");
    pq_arena_free(&m.arena);

    synth_model(&m, &synth_phi4_mini); /* tied: the head's wish falls on the embedding */
    r = (struct pq_request){.head_scheme = "q5_k"};
    choice = choose(gguf, &m, "q4_k_m", &r);
    assert_string_equal(scheme_of(&m, choice, "model.embed_tokens.weight")->name, "q5_k");
    choice = choose(mlx, &m, "mixed_2_6", &(struct pq_request){0});
    assert_int_equal(scheme_of(&m, choice, "model.embed_tokens.weight")->bits, 6);
    pq_arena_free(&m.arena);
}

static void test_refusals(void **state)
{
    static const struct {
        const char *target;
        struct pq_rule rule;
        const char *words[3];
    } rows[] = {
        {"gguf", {"*", "q9"}, {"unknown scheme", "q9", "*"}},
        {"gguf", {"lm_head*", "affine4g64"}, {"lm_head*", "gguf cannot hold", "affine4g64"}},
        {"mlx", {"lm_head*", "q4_k"}, {"mlx cannot hold", "q4_k", "lm_head*"}},
        {"gguf", {"lm_head*", "q4_k"}, {"multiple of 256", "lm_head.weight", "960"}},
        {"gguf", {"model.nothing", "q8_0"}, {"matches no matrix", "model.nothing", "q8_0"}},
        {"gguf", {"model.norm.weight", "q8_0"}, {"matches no matrix", "model.norm.weight", ""}},
        {"mlx", {"lm_head*", "affine4g128"}, {"multiple of 128", "lm_head.weight", "960"}},
    };
    const struct synth_shape s = {"odd", "phi3", 2, 960, 256, 15, 15, 320, 64, false, false};
    struct pq_model m;
    const struct pq_scheme *choice[64];
    (void)state;
    synth_model(&m, &s);
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        const struct pq_container *c = pq_container_find(rows[i].target);
        struct pq_err e = {0};
        struct pq_request r = {
            .recipe = pq_recipe_find(c, c->usual[PQ_INT8]), .rule = &rows[i].rule, .n_rules = 1};
        assert_int_equal(pq_choose(c, &m, &r, choice, &e), PQ_EINVAL);
        for (int k = 0; k < 3; k++)
            assert_words(e, rows[i].words[k]);
    }
    pq_arena_free(&m.arena);
}

/* ---- plans ---- */

struct span {
    uint32_t file;
    uint64_t from, to;
};

static int by_place(const void *a, const void *b)
{
    const struct span *x = (const struct span *)a, *y = (const struct span *)b;
    if (x->file != y->file)
        return x->file < y->file ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

/* Inside the file, behind the document, aligned, no two over each other; sizes as the schemes say.
 */
static void check_plan(const struct pq_plan *p, uint64_t alignment)
{
    struct span *s = (struct span *)pq_calloc(p->n_items * PQ_MAX_PARTS, sizeof *s);
    size_t n = 0;
    for (size_t i = 0; i < p->n_items; i++) {
        const struct pq_item *it = &p->item[i];
        for (int k = 0; k < it->n_parts; k++) {
            if (it->tensor)
                assert_int_equal(it->bytes[k],
                                 it->tensor->rows *
                                     pq_scheme_part_bytes(it->scheme, it->tensor->cols, k));
            assert_int_equal(it->at[k] % alignment, 0);
            assert_true(it->at[k] >= p->file[it->file].doc.len);
            assert_true(it->at[k] + it->bytes[k] <= p->file[it->file].size);
            s[n++] = (struct span){it->file, it->at[k], it->at[k] + it->bytes[k]};
        }
    }
    qsort(s, n, sizeof *s, by_place);
    for (size_t i = 1; i < n; i++)
        assert_true(s[i].file != s[i - 1].file || s[i].from >= s[i - 1].to);
    pq_free(s);
}

static void plan(struct pq_plan *p, const struct pq_container *c, struct pq_model *m,
                 const char *recipe, struct pq_request *r)
{
    struct pq_err e = {0};
    const struct pq_scheme **choice = choose(c, m, recipe, r);
    *p = (struct pq_plan){0};
    if (c->plan(p, m, r, choice, &e) < 0)
        fail_msg("%s: %s", recipe, e.msg);
}

static void test_plans(void **state)
{
    static const struct {
        const struct synth_shape *shape;
        const char *target, *recipe, *first_file;
        uint64_t split;
        size_t n_weight_files;
    } rows[] = {
        {&synth_phi35_mini, "gguf", "q4_k_m", "Phi-3.5-mini-instruct-Q4_K_M.gguf", 0, 1},
        {&synth_phi4, "gguf", "bf16", "phi-4-BF16.gguf", 0, 1},
        {&synth_phi4, "gguf", "q4_k_m", "phi-4-Q4_K_M-00001-of-00005.gguf", 2000000000, 5},
        {&synth_phi4_mini, "gguf", "iq4_nl", "Phi-4-mini-instruct-IQ4_NL.gguf", 1ull << 40, 1},
        {&synth_phi35_mini, "mlx", "affine4g64", "model.safetensors", 0, 1},
        {&synth_phi4, "mlx", "bf16", "model-00001-of-00006.safetensors", 0, 6},
        {&synth_phi2, "mlx", "mixed_3_4", "model.safetensors", 0, 1},
        {&synth_phi4_mini, "mlx", "nvfp4", "model.safetensors", 0, 1},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_model m;
        struct pq_plan p;
        struct pq_request r = {.split_max_bytes = rows[i].split};
        synth_model(&m, rows[i].shape);
        plan(&p, pq_container_find(rows[i].target), &m, rows[i].recipe, &r);
        assert_string_equal(p.dir, rows[i].target);
        assert_string_equal(p.file[0].name, rows[i].first_file);
        check_plan(&p, strcmp(rows[i].target, "gguf") ? 4 : 32);
        size_t weight_files = 0;
        for (size_t f = 0; f < p.n_files; f++) {
            weight_files += p.file[f].size > p.file[f].doc.len;
            if (rows[i].split)
                assert_true(p.file[f].size <= rows[i].split);
        }
        assert_int_equal(weight_files, rows[i].n_weight_files);
        pq_plan_free(&p);
        pq_arena_free(&m.arena);
    }
}

static void test_plan_refusals(void **state)
{
    struct pq_model m;
    struct pq_plan p;
    struct pq_err e = {0};
    struct pq_request r = {.split_max_bytes = 100000000};
    (void)state;
    synth_model(&m, &synth_phi4_mini);
    const struct pq_scheme **choice = choose(gguf, &m, "q4_k_m", &r);
    p = (struct pq_plan){0};
    assert_int_equal(gguf->plan(&p, &m, &r, choice, &e), PQ_EINVAL);
    assert_words(e, "token_embd.weight");
    assert_words(e, "100000000");
    pq_plan_free(&p);

    m.has_vocab = false;
    for (int k = 0; k < 2; k++) {
        const struct pq_container *c = k ? mlx : gguf;
        choice = choose(c, &m, c->usual[PQ_INT4], &r);
        e = (struct pq_err){0};
        p = (struct pq_plan){0};
        assert_int_equal(c->plan(&p, &m, &r, choice, &e), PQ_EINVAL);
        assert_words(e, "no tokenizer");
        pq_plan_free(&p);
    }
    pq_arena_free(&m.arena);
}

/* The name decides whether llama.cpp lets special tokens swallow the space after them. */
static void test_general_name(void **state)
{
    static const struct {
        const char *name;
        bool rstrip;
        const char *want;
        bool lacks; /* a token that llama.cpp looks up under such a name */
    } rows[] = {
        {"Phi-3.5-mini-instruct", true, "Phi-3.5-mini-instruct", false},
        {"Phi-3.5-mini-instruct", false, "Phi 3.5-mini-instruct", false},
        {"my-finetune", true, "my-finetune (Phi-3)", false},
        {"my-finetune", false, "my-finetune", false},
        {"xphi3-phi-3", false, "xphi 3-phi 3", false},
        {"phi-4", false, "phi-4", false},
        {"phi-4", true, "phi-4", true},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        const struct synth_shape s = {"t", "phi3", 1, 256, 256, 4, 4, 320, 64, false, false};
        struct pq_model m;
        struct pq_plan p;
        struct pq_arena a = {0};
        struct pq_gguf *g = NULL;
        struct pq_gguf_str name;
        struct pq_err e = {0};
        struct pq_request r = {.model_name = rows[i].name};
        synth_model(&m, &s);
        m.vocab.token[9] = (struct pq_token){.text = "<|end|>",
                                             .len = 7,
                                             .type = PQ_TOKEN_CONTROL,
                                             .added = true,
                                             .special = true,
                                             .rstrip = rows[i].rstrip};
        if (rows[i].lacks)
            m.vocab.token[2] = m.vocab.token[4]; /* no "</s>" */
        plan(&p, gguf, &m, "q8_0", &r);
        uint64_t size = p.file[0].size;
        uint8_t *file = (uint8_t *)pq_calloc((size_t)size, 1);
        memcpy(file, p.file[0].doc.data, p.file[0].doc.len);
        assert_int_equal(pq_gguf_parse(&g, &a, file, size, "t", &e), PQ_OK);
        assert_true(pq_gguf_get_str(g, "general.name", &name));
        assert_int_equal(name.len, strlen(rows[i].want));
        assert_memory_equal(name.s, rows[i].want, name.len);
        pq_free(file);
        pq_arena_free(&a);
        pq_plan_free(&p);
        pq_arena_free(&m.arena);
    }
}

/* LongRoPE factors of a GGUF, long table first: as the model has them, or one kind in both. */
static void test_rope_factors(void **state)
{
    static const struct {
        int context;
        float at_long, at_short; /* first factor: 1.5 is long, 1.0 short (synth.c) */
        const char *note;
    } rows[] = {
        {PQ_CONTEXT_AUTO, 1.5f, 1.0f, "-c 4096"},
        {PQ_CONTEXT_SHORT, 1.0f, 1.0f, "up to 4096 tokens"},
        {PQ_CONTEXT_LONG, 1.5f, 1.5f, "longer than 4096 tokens"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_model m;
        struct pq_plan p;
        struct pq_request r = {0};
        r.context = rows[i].context;
        synth_model(&m, &synth_phi35_mini);
        plan(&p, gguf, &m, "q4_k_m", &r);
        assert_string_equal(p.item[0].name, "rope_factors_long.weight");
        assert_string_equal(p.item[1].name, "rope_factors_short.weight");
        for (int k = 0; k < 2; k++) {
            assert_null(p.item[k].tensor);
            assert_int_equal(p.item[k].bytes[0], 48 * 4);
            assert_true(pq_bits_f32(pq_le32(p.item[k].literal)) ==
                        (k ? rows[i].at_short : rows[i].at_long));
        }
        assert_int_equal(p.n_notes, 1);
        assert_non_null(strstr(p.note[0], rows[i].note));
        pq_plan_free(&p);
        pq_arena_free(&m.arena);
    }
}

static void test_model_names(void **state)
{
    static const struct {
        const char *path, *origin, *want;
    } rows[] = {
        {"models/Phi-3.5-mini-instruct", NULL, "Phi-3.5-mini-instruct"},
        {"models/Phi-3.5-mini-instruct///", "microsoft/other", "Phi-3.5-mini-instruct"},
        {"phi-4", NULL, "phi-4"},
        {"out/mlx", "microsoft/phi-4", "phi-4"},
        {"out/mlx/", NULL, "model"},
        {".", "/home/x/phi-2/", "phi-2"},
        {"..", NULL, "model"},
        {"/", NULL, "model"},
        {"/c/models--microsoft--phi-4/snapshots/187ef0342fff0eb3333be9f00389385e95ef0b61", "x/y",
         "phi-4"},
        {"/c/187ef0342fff0eb3333be9f00389385e95ef0b61", "x/y", "y"},
    };
    (void)state;
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_arena a = {0};
        json_t *config = json_object();
        if (rows[i].origin)
            json_object_set_new(config, "_name_or_path", json_string(rows[i].origin));
        assert_string_equal(pq_container_model_name(&a, rows[i].path, config), rows[i].want);
        json_decref(config);
        pq_arena_free(&a);
    }
}

/* The same request gives the same bytes. */
static void test_plan_repeats(void **state)
{
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct pq_model m;
        struct pq_plan a, b;
        struct pq_request r = {0};
        synth_model(&m, &synth_phi35_mini);
        plan(&a, k ? mlx : gguf, &m, k ? "mixed_4_6" : "q4_k_m", &r);
        plan(&b, k ? mlx : gguf, &m, k ? "mixed_4_6" : "q4_k_m", &r);
        assert_int_equal(a.n_files, b.n_files);
        for (size_t f = 0; f < a.n_files; f++) {
            assert_string_equal(a.file[f].name, b.file[f].name);
            assert_int_equal(a.file[f].doc.len, b.file[f].doc.len);
            assert_memory_equal(a.file[f].doc.data, b.file[f].doc.data, a.file[f].doc.len);
        }
        pq_plan_free(&a);
        pq_plan_free(&b);
        pq_arena_free(&m.arena);
    }
}

/* Whatever request for memory fails, the plan says so and leaks nothing. */
static void test_plan_without_memory(void **state)
{
    const struct synth_shape s = {"t", "phi3", 2, 256, 256, 4, 4, 320, 64, false, true};
    (void)state;
    for (int k = 0; k < 2; k++) {
        const struct pq_container *c = k ? mlx : gguf;
        struct pq_model m;
        struct pq_request r = {0};
        synth_model(&m, &s);
        const struct pq_scheme **choice = choose(c, &m, c->usual[PQ_INT4], &r);
        int rc = PQ_ENOMEM;
        for (unsigned long n = 1; rc < 0 && n < 10000; n++) {
            struct pq_plan p = {0};
            struct pq_err e = {0};
            pq_mem_fail_after(n, true);
            rc = c->plan(&p, &m, &r, choice, &e);
            pq_mem_fail_after(0, false);
            if (rc < 0)
                assert_int_equal(rc, PQ_ENOMEM);
            pq_plan_free(&p);
        }
        assert_int_equal(rc, PQ_OK);
        pq_arena_free(&m.arena);
    }
}

int main(void)
{
    gguf = pq_container_find("gguf");
    mlx = pq_container_find("MLX");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipe_counts),
        cmocka_unit_test(test_recipe_sizes),
        cmocka_unit_test(test_every_recipe),
        cmocka_unit_test(test_more_bits),
        cmocka_unit_test(test_fallback),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_wishes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_plans),
        cmocka_unit_test(test_plan_refusals),
        cmocka_unit_test(test_general_name),
        cmocka_unit_test(test_plan_repeats),
        cmocka_unit_test(test_plan_without_memory),
        cmocka_unit_test(test_rope_factors),
        cmocka_unit_test(test_model_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
