/* torch files: entries lie in the archive, tensors in their storages. An input is read as an
 * archive first, then as a pickle, so that both grammars are reached. SPDX-License-Identifier: MIT
 */
#include "fuzz.h"

#include "wire/pickle.h"
#include "wire/zip.h"

#include <string.h>

static void read_pickle(const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_pickle p;
    if (pq_pickle_state(&p, &a, data, size, "x", &e) >= 0)
        for (size_t i = 0; i < p.n; i++) {
            const struct pq_pickle_tensor *t = &p.tensor[i];
            REQUIRE(t->name && t->storage && t->n_dims >= 0 && t->n_dims <= 8);
            REQUIRE(t->at <= t->storage_size && t->size <= t->storage_size - t->at);
        }
    else
        REQUIRE(e.code && e.msg[0]);
    pq_arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_zip z;
    if (pq_zip_parse(&z, &a, data, size, "x", &e) >= 0)
        for (size_t i = 0; i < z.n; i++) {
            const struct pq_zip_entry *t = &z.entry[i];
            REQUIRE(t->at <= size && t->size <= size - t->at);
            REQUIRE(pq_zip_find(&z, t->name) == t);
            if (strstr(t->name, "data.pkl"))
                read_pickle(data + t->at, (size_t)t->size);
        }
    else
        REQUIRE(e.code && e.msg[0]);
    pq_arena_free(&a);
    read_pickle(data, size);
    return 0;
}
