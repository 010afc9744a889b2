/* A vocabulary from a checkpoint's folder (n_vocab rows) or a GGUF file, for the tools here.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_TOOLS_LOAD_VOCAB_H
#define PQ_TOOLS_LOAD_VOCAB_H

#include "base/fs.h"
#include "tok/vocab.h"

static inline int load_vocab(struct pq_vocab *v, struct pq_arena *a, const char *source,
                             size_t n_vocab, struct pq_err *e)
{
    struct pq_map map = {0};
    struct pq_gguf *g;
    int rc;
    if (pq_path_kind(source) == PQ_PATH_DIR)
        return pq_vocab_load(v, a, source, n_vocab, e);
    PQ_TRY(pq_map_open(&map, source, e));
    PQ_TRY(pq_gguf_parse(&g, a, map.data, map.size, source, e));
    PQ_TRY(pq_vocab_from_gguf(v, a, g, source, e));
out:
    if (map.data)
        pq_map_close(&map);
    return rc;
}

#endif
