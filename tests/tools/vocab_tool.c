/*
 * vocab_tool SOURCE OUT [N_VOCAB]: reads the tokenizer of a folder (N_VOCAB rows) or of a GGUF file
 * and writes tokenizer.json and tokenizer_config.json into the folder OUT, for
 * check_tokenizer_emit.py. SPDX-License-Identifier: MIT
 */
#include "load_vocab.h"

#include <stdio.h>
#include <stdlib.h>

static int write_json(struct pq_arena *a, const char *dir, const char *name, const json_t *j,
                      struct pq_err *e)
{
    struct pq_buf b = {0};
    int rc;
    PQ_TRY(pq_json_print(&b, j, e));
    PQ_TRY(pq_file_write(pq_path_join(a, dir, name), b.data, b.len, e));
out:
    pq_buf_free(&b);
    return rc;
}

int main(int argc, char **argv)
{
    struct pq_arena a = {0};
    struct pq_vocab v;
    struct pq_err e = {0};
    json_t *tokenizer = NULL, *config = NULL;
    int rc;
    if (argc < 3)
        return fprintf(stderr, "usage: vocab_tool SOURCE OUT [N_VOCAB]\n"), 2;
    PQ_TRY(load_vocab(&v, &a, argv[1], argc > 3 ? strtoul(argv[3], NULL, 10) : 0, &e));
    PQ_TRY(pq_vocab_tokenizer_json(&v, &tokenizer, &e));
    PQ_TRY(pq_vocab_tokenizer_config(&v, &config, &e));
    PQ_TRY(pq_dir_make(argv[2], &e));
    PQ_TRY(write_json(&a, argv[2], "tokenizer.json", tokenizer, &e));
    PQ_TRY(write_json(&a, argv[2], "tokenizer_config.json", config, &e));
out:
    if (rc < 0)
        fprintf(stderr, "vocab_tool: %s\n", e.msg);
    json_decref(tokenizer);
    json_decref(config);
    pq_arena_free(&a);
    return rc < 0;
}
