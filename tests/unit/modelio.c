/* Models written to a scratch folder, see modelio.h. SPDX-License-Identifier: MIT */
#include "modelio.h"

#include "base/num.h"
#include "base/sys.h"

#include <stdio.h>
#include <stdlib.h>

const char *const modelio_fixtures[MODELIO_FIXTURES] = {
    "phi2", "phi3-mini-4k", "phi3-mini-128k-sharded", "phi3-medium", "phi4", "phi4-mini"};

static char scratch[256];

static char *next_path(void)
{
    static char path[8][1024];
    static int k;
    return path[k = (k + 1) % 8];
}

const char *modelio_fixture(const char *name)
{
    char *p = next_path();
    snprintf(p, 1024, "%s/fixtures/%s", PQ_TEST_DATA, name);
    return p;
}

const char *modelio_path(const char *name)
{
    char *p = next_path();
    snprintf(p, 1024, "%s/%s", scratch, name);
    return p;
}

int modelio_setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    struct pq_err e = {0};
    (void)state;
    snprintf(scratch, sizeof scratch, "%s/phiq-test-model-%ld", tmp ? tmp : "/tmp",
             (long)(pq_now() * 1e6));
    return pq_dir_make(scratch, &e);
}

int modelio_teardown(void **state)
{
    struct pq_err e = {0};
    (void)state;
    return pq_tree_remove(scratch, &e);
}

struct found {
    const char *dir;
    char *path;
};

static int take_first(void *ctx, const char *name, struct pq_err *e)
{
    struct found *f = (struct found *)ctx;
    (void)e;
    if (!f->path) {
        f->path = next_path();
        snprintf(f->path, 1024, "%s/%s", f->dir, name);
    }
    return PQ_OK;
}

const char *modelio_write(const char *source, const char *name, const char *target,
                          const char *scheme, uint64_t split)
{
    struct pq_quantize_options o;
    struct pq_err e = {0};
    char *report = NULL, dir[1024];
    pq_quantize_options_default(&o);
    o.input = source;
    o.out_dir = modelio_path(name);
    o.targets = target;
    o.scheme = scheme;
    o.split_max_bytes = split;
    o.force = 1;
    o.threads = 1;
    if (pq_quantize(&o, 0, &report, &e) < 0)
        fail_msg("%s -> %s %s: %s", source, target, scheme, e.msg);
    pq_string_free(report);
    snprintf(dir, sizeof dir, "%s/%s", modelio_path(name), target);
    struct found f = {.dir = dir};
    if (!strcmp(target, "gguf"))
        assert_int_equal(pq_dir_each(dir, take_first, &f, &e), PQ_OK);
    else
        snprintf(f.path = next_path(), 1024, "%s", dir);
    return f.path;
}

struct pq_model *modelio_load(const char *path)
{
    struct pq_model *m = NULL;
    struct pq_err e = {0};
    if (pq_model_load(&m, path, &e) < 0)
        fail_msg("%s", e.msg);
    return m;
}

void modelio_refused(const char *path, const char *words)
{
    struct pq_model *m = NULL;
    struct pq_err e = {0};
    if (pq_model_load(&m, path, &e) >= 0)
        fail_msg("accepted, expected words \"%s\"", words);
    assert_null(m);
    assert_words(e, words);
}

static void same_hparams(const struct pq_hparams *a, const struct pq_hparams *b)
{
    const uint32_t x[] = {a->n_layers, a->hidden,         a->ff,
                          a->n_heads,  a->n_kv_heads,     a->head_dim,
                          a->vocab,    a->max_position,   a->original_max_position,
                          a->rot_dims, a->sliding_window, a->norm,
                          a->act,      a->parallel,       a->tied,
                          a->rope};
    const uint32_t y[] = {b->n_layers, b->hidden,         b->ff,
                          b->n_heads,  b->n_kv_heads,     b->head_dim,
                          b->vocab,    b->max_position,   b->original_max_position,
                          b->rot_dims, b->sliding_window, b->norm,
                          b->act,      b->parallel,       b->tied,
                          b->rope};
    assert_memory_equal(x, y, sizeof x);
    assert_true(a->norm_eps == b->norm_eps && a->rope_theta == b->rope_theta);
    assert_true(a->attn_factor == b->attn_factor);
    assert_string_equal(a->dtype, b->dtype);
    assert_int_equal(a->bos, b->bos);
    assert_int_equal(a->n_eos, b->n_eos);
    assert_memory_equal(a->eos, b->eos, (size_t)a->n_eos * sizeof a->eos[0]);
    if (a->rope != PQ_ROPE_LONGROPE)
        return;
    assert_memory_equal(a->long_factor, b->long_factor, a->rot_dims / 2 * sizeof(float));
    assert_memory_equal(a->short_factor, b->short_factor, a->rot_dims / 2 * sizeof(float));
}

static void same_vocab(const struct pq_vocab *a, const struct pq_vocab *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_string_equal(a->pre, b->pre);
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_int_equal(a->n_merges, b->n_merges);
    for (size_t i = 0; i < a->n_tokens; i++) {
        assert_int_equal(a->token[i].len, b->token[i].len);
        assert_memory_equal(a->token[i].text, b->token[i].text, a->token[i].len);
        assert_int_equal(a->token[i].type, b->token[i].type);
        assert_true(a->token[i].score == b->token[i].score);
    }
    for (size_t i = 0; i < a->n_merges; i++)
        assert_string_equal(a->merge[i], b->merge[i]);
    assert_int_equal(a->eos, b->eos);
    assert_int_equal(a->add_bos, b->add_bos);
    assert_int_equal(a->add_eos, b->add_eos);
    assert_int_equal(!a->chat_template, !b->chat_template);
    if (a->chat_template)
        assert_string_equal(a->chat_template, b->chat_template);
}

void modelio_same_rows(const struct pq_network *a, const struct pq_network *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct pq_tensor *t = &a->tensor[i], *u = pq_network_find(b, t->name);
        if (!u)
            fail_msg("%s is gone", t->name);
        assert_int_equal(t->rows, u->rows);
        assert_int_equal(t->cols, u->cols);
        float *x = (float *)pq_calloc((size_t)t->cols, sizeof *x);
        float *y = (float *)pq_calloc((size_t)t->cols, sizeof *y);
        for (uint64_t row = 0; row < t->rows; row++) {
            pq_tensor_row(t, NULL, row, x);
            pq_tensor_row(u, NULL, row, y);
            if (memcmp(x, y, (size_t)t->cols * sizeof *x))
                fail_msg("%s: row %llu differs", t->name, (unsigned long long)row);
        }
        pq_free(x);
        pq_free(y);
    }
}

void modelio_same(const struct pq_model *a, const struct pq_model *b)
{
    assert_ptr_equal(a->net.arch, b->net.arch);
    same_hparams(&a->net.hp, &b->net.hp);
    modelio_same_rows(&a->net, &b->net);
    assert_true(a->has_vocab && b->has_vocab);
    same_vocab(&a->vocab, &b->vocab);
}

void modelio_slurp(const char *path, struct pq_buf *b)
{
    struct pq_map m;
    struct pq_err e = {0};
    *b = (struct pq_buf){0};
    if (pq_map_open(&m, path, &e) < 0)
        fail_msg("%s", e.msg);
    pq_buf_put(b, m.data, (size_t)m.size);
    assert_false(b->failed);
    pq_map_close(&m);
}

/* Without the fsync of pq_file_write: tests spill thousands of files. */
void modelio_spill(const char *path, const struct pq_buf *b)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b->data, 1, b->len, f), b->len);
    assert_int_equal(fclose(f), 0);
}

void modelio_patch(struct pq_buf *b, const char *from, size_t n, const char *to)
{
    for (size_t i = 0; i + n <= b->len; i++)
        if (!memcmp(b->data + i, from, n)) {
            memcpy(b->data + i, to, n);
            return;
        }
    fail_msg("the file has no \"%.*s\"", (int)n, from);
}
