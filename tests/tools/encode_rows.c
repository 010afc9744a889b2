/*
 * Encodes or decodes raw rows through the table of schemes, for tests in other languages:
 *     encode_rows encode SCHEME SOLVER LEVEL COLS [IMPORTANCE] < float32 rows > encoded rows
 *     encode_rows decode SCHEME - - COLS < encoded rows > float32 rows
 *     encode_rows list
 * SOLVER is rtn or search, LEVEL a kernel level or "best", IMPORTANCE a file of COLS floats. The
 * parts of a row follow each other. SPDX-License-Identifier: MIT
 */
#include "quant/scheme.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
    const struct pq_scheme *scheme;
    const struct pq_kern *kern;
    enum pq_solver solver;
    uint64_t cols;
    const float *importance;
    float *x;
    uint8_t *bytes;
    void *part[PQ_MAX_PARTS];
    const void *cpart[PQ_MAX_PARTS];
};

static int die(const char *what)
{
    fprintf(stderr, "encode_rows: %s\n", what);
    return 2;
}

static float *read_importance(const char *path, uint64_t cols)
{
    float *h = malloc(cols * 4);
    FILE *f = fopen(path, "rb");
    bool good = f && h && fread(h, 4, cols, f) == cols;
    if (f)
        fclose(f);
    if (good)
        return h;
    free(h);
    return NULL;
}

static int list(void)
{
    const struct pq_scheme *s;
    for (int i = 0; (s = pq_scheme_at(i)) != NULL; i++)
        printf("%s %d %u %d\n", s->name, s->ggml_type == PQ_NO_GGML_TYPE ? -1 : (int)s->ggml_type,
               s->block, s->encoder != PQ_ENC_NONE);
    return 0;
}

static int run(struct job *j, bool decode)
{
    uint64_t bytes = pq_scheme_row_bytes(j->scheme, j->cols);
    if (decode) {
        while (fread(j->bytes, 1, bytes, stdin) == bytes) {
            j->scheme->decode(j->scheme, j->cpart, j->cols, j->x);
            fwrite(j->x, 4, j->cols, stdout);
        }
        return 0;
    }
    while (fread(j->x, 4, j->cols, stdin) == j->cols) {
        pq_scheme_encode(j->scheme, j->kern, j->solver, j->x, j->importance, j->cols, j->part);
        fwrite(j->bytes, 1, bytes, stdout);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "list"))
        return list();
    if (argc < 6)
        return die("encode|decode SCHEME rtn|search LEVEL COLS [IMPORTANCE]");
    bool decode = !strcmp(argv[1], "decode");
    struct job j = {.scheme = pq_scheme_find(argv[2])};
    if (!j.scheme)
        return die("unknown scheme");
    j.solver = !strcmp(argv[3], "rtn") ? PQ_SOLVER_RTN : PQ_SOLVER_SEARCH;
    j.kern = pq_kern_best(decode || !strcmp(argv[4], "best") ? NULL : argv[4]);
    j.cols = strtoull(argv[5], NULL, 10);
    if (!j.kern || !j.cols || j.cols % j.scheme->block)
        return die("unknown level, or columns that the scheme cannot take");
    if (!decode && j.scheme->encoder == PQ_ENC_NONE)
        return die("this scheme can only be read");
    float *importance = argc > 6 ? read_importance(argv[6], j.cols) : NULL;
    if (argc > 6 && !importance)
        return die("cannot read the importance file");
    j.importance = importance;
    j.x = malloc(j.cols * 4);
    j.bytes = malloc(pq_scheme_row_bytes(j.scheme, j.cols) + 1);
    if (!j.x || !j.bytes)
        return die("out of memory");
    uint64_t at = 0;
    for (int i = 0; i < PQ_MAX_PARTS; i++) {
        j.cpart[i] = j.part[i] = j.bytes + at;
        at += pq_scheme_part_bytes(j.scheme, j.cols, i);
    }
    int rc = run(&j, decode);
    free(j.x);
    free(j.bytes);
    free(importance);
    return rc;
}
