/* Loads a vocabulary from a folder whose one file is the fuzzer's input, and, where that works,
 * writes it as tokenizer.json in memory and encodes with it. SPDX-License-Identifier: MIT */
#ifndef PQ_FUZZ_VOCAB_FILE_H
#define PQ_FUZZ_VOCAB_FILE_H

#include "fuzz.h"

#include "base/fs.h"
#include "tok/tokenizer.h"

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

/* Some text with the vocabulary's own tokens in it. */
static void encode_with(const struct pq_vocab *v)
{
    struct pq_tokenizer *t;
    struct pq_ids ids = {0};
    struct pq_buf text = {0}, back = {0};
    if (pq_tokenizer_new(&t, v, NULL) < 0)
        return;
    for (size_t i = 0; i < v->n_tokens && text.len < 2000; i += 7)
        pq_buf_printf(&text, "%s a  ", v->token[i].text);
    REQUIRE(pq_tokenizer_encode(t, (const char *)text.data, text.len, 0, &ids, NULL) == PQ_OK);
    REQUIRE(pq_tokenizer_decode(t, ids.id, ids.n, 0, &back, NULL) == PQ_OK);
    pq_buf_free(&text);
    pq_buf_free(&back);
    pq_ids_free(&ids);
    pq_tokenizer_free(t);
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
        encode_with(&v);
    }
    pq_arena_free(&a);
}

#endif
