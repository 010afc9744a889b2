/*
 * The convert room end to end over the tables: every fixture into every container, read back; same
 * bytes for any number of threads and any instruction set; nothing left behind by any failure.
 * SPDX-License-Identifier: MIT
 */
#include "test.h"

#include "base/fs.h"
#include "base/hash.h"
#include "base/sys.h"
#include "convert/convert.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const fixtures[] = {"phi2",        "phi3-mini-4k", "phi3-mini-128k-sharded",
                                       "phi3-medium", "phi4",         "phi4-mini"};

static char scratch[256];

static const char *in_scratch(const char *name)
{
    static char path[4][512];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", scratch, name);
    return path[k];
}

static const char *fixture(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/fixtures/%s", PQ_TEST_DATA, name);
    return path;
}

static int quantize(const struct pq_quantize_options *o, struct pq_err *e)
{
    char *report;
    int rc = pq_quantize(o, 0, &report, e);
    pq_string_free(report);
    return rc;
}

static struct pq_quantize_options options(const char *input, const char *out)
{
    struct pq_quantize_options o;
    pq_quantize_options_default(&o);
    o.input = input;
    o.out_dir = out;
    o.targets = "gguf,mlx";
    return o;
}

/* Order-free checksum over names and contents of a tree. */
static int add_entry(void *ctx, const char *name, struct pq_err *e);

struct walk {
    const char *dir;
    uint64_t sum;
    size_t files;
};

static void add_tree(struct walk *w, const char *path, const char *name)
{
    struct pq_err e = {0};
    if (pq_path_kind(path) == PQ_PATH_DIR) {
        struct walk inner = {.dir = path};
        assert_int_equal(pq_dir_each(path, add_entry, &inner, &e), PQ_OK);
        w->sum += inner.sum;
        w->files += inner.files;
        return;
    }
    struct pq_map m;
    assert_int_equal(pq_map_open(&m, path, &e), PQ_OK);
    w->sum += pq_hash(m.data, (size_t)m.size, pq_hash(name, strlen(name), 0));
    w->files++;
    pq_map_close(&m);
}

static int add_entry(void *ctx, const char *name, struct pq_err *e)
{
    struct walk *w = (struct walk *)ctx;
    char path[1024];
    (void)e;
    snprintf(path, sizeof path, "%s/%s", w->dir, name);
    add_tree(w, path, name);
    return 0;
}

static struct walk tree(const char *dir)
{
    struct walk w = {.dir = dir};
    if (pq_path_kind(dir) != PQ_PATH_NONE)
        add_tree(&w, dir, "");
    return w;
}

static void wipe(const char *dir)
{
    struct pq_err e = {0};
    assert_int_equal(pq_tree_remove(dir, &e), PQ_OK);
}

/* Every recipe of every container on every fixture: written, verified, and read back as the same
 * network. */
static void every_recipe(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof fixtures / sizeof *fixtures; f++)
        for (size_t c = 0; pq_containers[c]; c++)
            for (const struct pq_recipe *r = pq_containers[c]->recipes;
                 pq_containers[c]->plan && r->name; r++) {
                struct pq_err e = {0};
                struct pq_quantize_options o = options(fixture(fixtures[f]), in_scratch("every"));
                o.targets = pq_containers[c]->name;
                o.scheme = r->name;
                o.force = 1;
                if (quantize(&o, &e) != PQ_OK)
                    fail_msg("%s %s %s: %s", fixtures[f], o.targets, r->name, e.msg);
            }
    wipe(in_scratch("every"));
}

/* A chain through all containers at fp32 loses nothing. */
static void lossless_chain(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof fixtures / sizeof *fixtures; f++) {
        struct pq_err e = {0};
        char *json;
        struct pq_quantize_options o = options(fixture(fixtures[f]), in_scratch("a"));
        o.precision = "fp32";
        o.name = "chain";
        assert_int_equal(quantize(&o, &e), PQ_OK);
        o = options(in_scratch("a/gguf/chain-F32.gguf"), in_scratch("b"));
        o.precision = "fp32";
        o.targets = "mlx";
        if (quantize(&o, &e) != PQ_OK)
            fail_msg("%s: gguf to mlx: %s", fixtures[f], e.msg);
        o = options(in_scratch("b/mlx"), in_scratch("c"));
        o.precision = "fp32";
        o.targets = "gguf";
        o.name = "again";
        if (quantize(&o, &e) != PQ_OK)
            fail_msg("%s: mlx to gguf: %s", fixtures[f], e.msg);
        const char *end = in_scratch("c/gguf/again-F32.gguf");
        if (pq_compare(fixture(fixtures[f]), end, 1, &json, &e) != PQ_OK)
            fail_msg("%s: %s", fixtures[f], e.msg);
        assert_non_null(strstr(json, "\"equal\": true"));
        pq_string_free(json);
        wipe(scratch);
    }
}

static void same_bytes(void **state)
{
    (void)state;
    uint64_t want = 0;
    static const int threads[] = {1, 2, 7};
    for (size_t t = 0; t < 3; t++)
        for (int level = 0; pq_kern_level(level); level++) {
            struct pq_err e = {0};
            struct pq_quantize_options o = options(fixture("phi4-mini"), in_scratch("same"));
            o.threads = threads[t];
            o.cpu_level = pq_kern_level(level)->level;
            o.name = "same";
            assert_int_equal(quantize(&o, &e), PQ_OK);
            struct walk w = tree(in_scratch("same"));
            assert_true(w.files > 4);
            if (!want)
                want = w.sum;
            if (w.sum != want)
                fail_msg("%d threads, level %s: other bytes", threads[t],
                         pq_kern_level(level)->level);
            wipe(scratch);
        }
}

static void replaced_only_by_force(void **state)
{
    (void)state;
    struct pq_err e = {0};
    struct pq_quantize_options o = options(fixture("phi3-medium"), in_scratch("f"));
    o.name = "f";
    assert_int_equal(quantize(&o, &e), PQ_OK);
    uint64_t before = tree(in_scratch("f")).sum;
    o.solver = "rtn";
    assert_int_equal(quantize(&o, &e), PQ_EEXIST);
    assert_words(e, "--force");
    assert_true(tree(in_scratch("f")).sum == before);
    o.force = 1;
    e = (struct pq_err){0};
    assert_int_equal(quantize(&o, &e), PQ_OK);
    assert_true(tree(in_scratch("f")).sum != before);
    wipe(scratch);
}

static void refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *targets, *precision, *scheme, *rule, *solver, *context, *words;
    } cases[] = {
        {"gguf,tar", NULL, NULL, NULL, NULL, NULL, "unknown target \"tar\""},
        {"", NULL, NULL, NULL, NULL, NULL, "no target"},
        {"gguf,gguf", NULL, NULL, NULL, NULL, NULL, "named twice"},
        {"gguf", "int5", NULL, NULL, NULL, NULL, "unknown precision \"int5\""},
        {"gguf", NULL, "q4_k_z", NULL, NULL, NULL, "no scheme \"q4_k_z\""},
        {"gguf", NULL, "mlx:affine4g64", NULL, NULL, NULL, "which --to does not"},
        {"gguf", NULL, NULL, "mlx:*=affine4g64", NULL, NULL, "which --to does not"},
        {"gguf", NULL, NULL, "down_proj", NULL, NULL, "expected PATTERN=SCHEME"},
        {"gguf", NULL, NULL, "*=q9_9", NULL, NULL, "unknown scheme \"q9_9\""},
        {"gguf", NULL, NULL, "*=affine4g64", NULL, NULL, "affine4g64"},
        {"gguf", NULL, NULL, NULL, "magic", NULL, "unknown solver \"magic\""},
        {"mlx", NULL, NULL, NULL, NULL, "middle", "unknown context \"middle\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pq_err e = {0};
        struct pq_quantize_options o = options(fixture("phi3-medium"), in_scratch("never"));
        o.targets = cases[i].targets;
        o.precision = cases[i].precision;
        o.scheme = cases[i].scheme;
        o.rule = &cases[i].rule;
        o.n_rules = cases[i].rule != NULL;
        o.solver = cases[i].solver;
        o.context = cases[i].context;
        int rc = quantize(&o, &e);
        if (rc != PQ_EINVAL && rc != PQ_EUNSUPPORTED)
            fail_msg("case %zu: status %d (%s)", i, rc, e.msg);
        assert_words(e, cases[i].words);
        assert_int_equal(pq_path_kind(in_scratch("never")), PQ_PATH_NONE);
    }
    struct pq_err e = {0};
    struct pq_quantize_options o = options(fixture("phi3-medium"), in_scratch("never"));
    o.provider = "cuda";
    assert_int_equal(quantize(&o, &e), PQ_EINVAL);
    assert_words(e, "--provider is for ONNX folders");
}

/* A weight that is not finite, or not representable, is named with file, row and column. */
static void bad_weights(void **state)
{
    (void)state;
    static const struct {
        uint16_t bits;
        const char *precision, *words;
    } cases[] = {{0x7fc0, "int4", "is not a finite number"},
                 {0x7f80, "fp32", "is not a finite number"},
                 {0x4780, "fp16", "does not fit 16-bit floats"}}; /* 65536 */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pq_err e = {0};
        char *data;
        size_t size;
        const char *dir = in_scratch("bad");
        assert_int_equal(pq_dir_make(dir, &e), PQ_OK);
        static const char *const files[] = {"config.json",           "generation_config.json",
                                            "tokenizer.json",        "tokenizer.model",
                                            "tokenizer_config.json", "model.safetensors"};
        for (size_t f = 0; f < 6; f++) {
            char from[600], to[600];
            snprintf(from, sizeof from, "%s/%s", fixture("phi3-medium"), files[f]);
            snprintf(to, sizeof to, "%s/%s", dir, files[f]);
            assert_int_equal(pq_file_read(from, 1 << 30, &data, &size, &e), PQ_OK);
            if (f == 5) { /* last value of the last tensor */
                data[size - 2] = (char)(cases[i].bits & 0xff);
                data[size - 1] = (char)(cases[i].bits >> 8);
            }
            assert_int_equal(pq_file_write(to, data, size, &e), PQ_OK);
            pq_free(data);
        }
        struct pq_quantize_options o = options(dir, in_scratch("never"));
        o.precision = cases[i].precision;
        assert_int_equal(quantize(&o, &e), PQ_EFORMAT);
        assert_words(e, cases[i].words);
        assert_words(e, "model.safetensors: tensor ");
        assert_int_equal(tree(in_scratch("never")).files, 0);
        wipe(scratch);
    }
}

/* The n-th write fails: nothing remains, whatever n. Short writes alone change nothing. */
static void full_disk(void **state)
{
    (void)state;
    struct pq_err e = {0};
    struct pq_quantize_options o = options(fixture("phi4-mini"), in_scratch("disk"));
    o.solver = "rtn";
    o.threads = 1;
    o.name = "d";
    assert_int_equal(quantize(&o, &e), PQ_OK);
    uint64_t want = tree(in_scratch("disk")).sum;
    wipe(scratch);
    pq_out_fail_after(0, true);
    assert_int_equal(quantize(&o, &e), PQ_OK);
    assert_true(tree(in_scratch("disk")).sum == want);
    wipe(scratch);
    unsigned long n = 1;
    for (;; n += n / 4 + 1) {
        e = (struct pq_err){0};
        pq_out_fail_after(n, false);
        int rc = quantize(&o, &e);
        pq_out_fail_after(0, false);
        if (rc == PQ_OK)
            break;
        assert_int_equal(rc, PQ_EIO);
        assert_words(e, "cannot write");
        assert_int_equal(tree(scratch).files, 0);
    }
    assert_true(n > 20);
    wipe(scratch);
}

/* The n-th allocation fails, once and from then on: a status, no leak, no output. */
static void out_of_memory(void **state)
{
    (void)state;
    for (int once = 0; once < 2; once++) {
        unsigned long n = 1;
        for (;; n += n / 8 + 1) {
            struct pq_err e = {0};
            struct pq_quantize_options o = options(fixture("phi4-mini"), in_scratch("mem"));
            o.solver = "rtn";
            o.threads = 1;
            o.name = "m";
            pq_mem_fail_after(n, once);
            int rc = quantize(&o, &e);
            unsigned long asked = pq_mem_requests();
            pq_mem_fail_after(0, false);
            size_t files = tree(scratch).files;
            wipe(scratch);
            if (rc == PQ_OK && asked < n)
                break;
            if (rc != PQ_OK) {
                assert_true(e.msg[0] != '\0');
                assert_int_equal(files, 0);
            }
        }
        assert_true(n > 50);
    }
}

static int stop_at(void *ctx, const struct pq_progress *p)
{
    (void)p;
    return --*(int *)ctx <= 0;
}

static void cancelled(void **state)
{
    (void)state;
    for (int n = 1; n < 3; n++) {
        int left = n;
        struct pq_err e = {0};
        struct pq_quantize_options o = options(fixture("phi2"), in_scratch("stop"));
        o.progress = stop_at;
        o.progress_ctx = &left;
        int rc = quantize(&o, &e);
        if (rc == PQ_OK) /* done before it was asked again */
            continue;
        assert_int_equal(rc, PQ_ECANCELLED);
        assert_int_equal(tree(scratch).files, 0);
    }
    wipe(scratch);
}

static void dry_run(void **state)
{
    (void)state;
    struct pq_err e = {0};
    char *json;
    struct pq_quantize_options o = options(fixture("phi3-mini-4k"), in_scratch("dry"));
    assert_int_equal(pq_quantize(&o, 1, &json, &e), PQ_OK);
    assert_non_null(strstr(json, "\"written\": false"));
    assert_non_null(strstr(json, "blk.1.ffn_down.weight"));
    pq_string_free(json);
    assert_int_equal(pq_path_kind(scratch), PQ_PATH_NONE);
}

static void rules_and_overrides(void **state)
{
    (void)state;
    struct pq_err e = {0};
    char *json;
    static const char *const rule[] = {"gguf:*layers.0.mlp*=q8_0", "mlx:*layers.0.mlp*=affine8g32",
                                       "*norm*=f32"};
    struct pq_quantize_options o = options(fixture("phi3-mini-4k"), in_scratch("r"));
    o.rule = rule;
    o.n_rules = 2;
    o.scheme = "gguf:q4_0,mlx:affine4g64";
    o.name = "r";
    assert_int_equal(quantize(&o, &e), PQ_OK);
    assert_int_equal(pq_info(in_scratch("r/gguf/r-Q4_0.gguf"), 1, &json, &e), PQ_OK);
    assert_non_null(strstr(json, "\"q8_0\": 2"));
    pq_string_free(json);
    assert_int_equal(pq_info(in_scratch("r/mlx"), 1, &json, &e), PQ_OK);
    assert_non_null(strstr(json, "\"affine8g32\": 2"));
    pq_string_free(json);
    wipe(scratch);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/phiq-test-convert-%ld", tmp ? tmp : "/tmp",
             (long)(pq_now() * 1e6));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipe),        cmocka_unit_test(lossless_chain),
        cmocka_unit_test(same_bytes),          cmocka_unit_test(replaced_only_by_force),
        cmocka_unit_test(refused_in_words),    cmocka_unit_test(bad_weights),
        cmocka_unit_test(full_disk),           cmocka_unit_test(out_of_memory),
        cmocka_unit_test(cancelled),           cmocka_unit_test(dry_run),
        cmocka_unit_test(rules_and_overrides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
