/*
 * The pickle that torch.save writes for a state dict, and nothing else. Pickle is a program for a
 * stack machine that can call any Python function; this machine has data opcodes only and a short
 * list of names it knows. Every other name is refused by name, so nothing in a checkpoint runs.
 * Sources: the opcode comments of CPython's Lib/pickletools.py; torch/_utils.py and
 * torch/serialization.py for the shape of the data. SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_PICKLE_H
#define PQ_WIRE_PICKLE_H

#include "base/dtype.h"
#include "base/mem.h"

/* A contiguous tensor within a storage. */
struct pq_pickle_tensor {
    const char *name;
    const char *storage; /* key: the archive's entry data/KEY holds the bytes */
    enum pq_dtype dtype;
    int n_dims;
    uint64_t dim[8];
    uint64_t at, size;     /* bytes within the storage, checked against storage_size */
    uint64_t storage_size; /* bytes, as the pickle says */
};

struct pq_pickle {
    struct pq_pickle_tensor *tensor; /* in the order of the file */
    size_t n;
};

/* Strings and tensors go to the arena. */
int pq_pickle_state(struct pq_pickle *out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                    const char *file, struct pq_err *e) PQ_MUST_CHECK;

#endif
