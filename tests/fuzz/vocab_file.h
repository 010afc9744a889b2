/* Loads a vocabulary from a folder whose one file is the fuzzer's input, and, where that works,
 * writes it as tokenizer.json in memory. SPDX-License-Identifier: MIT */
#ifndef PQ_FUZZ_VOCAB_FILE_H
#define PQ_FUZZ_VOCAB_FILE_H

#include "fuzz.h"

#include "base/fs.h"
#include "tok/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char vocab_dir[64];

static void remove_vocab_dir(void)
{
    (void)pq_tree_remove(vocab_dir, NULL);
}

static void make_vocab_dir(void)
{
    snprintf(vocab_dir, sizeof vocab_dir, "/tmp/phiq-fuzz-%ld", (long)getpid());
    if (pq_dir_make(vocab_dir, NULL) < 0)
        abort();
    atexit(remove_vocab_dir);
}

static void load_vocab_file(const char *name, const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_vocab v;
    json_t *j = NULL;
    char path[128];
    if (!vocab_dir[0])
        make_vocab_dir();
    snprintf(path, sizeof path, "%s/%s", vocab_dir, name);
    FILE *f = fopen(path, "wb"); /* not pq_file_write, which waits for the disk */
    REQUIRE(f && fwrite(data, 1, size, f) == size && !fclose(f));
    if (pq_vocab_load(&v, &a, vocab_dir, 600, NULL) == PQ_OK) {
        REQUIRE(pq_vocab_tokenizer_json(&v, &j, NULL) == PQ_OK);
        json_decref(j);
        REQUIRE(pq_vocab_tokenizer_config(&v, &j, NULL) == PQ_OK);
        json_decref(j);
    }
    pq_arena_free(&a);
}

#endif
