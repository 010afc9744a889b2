/*
 * Zip archives whose entries are stored, not compressed: what torch.save writes. Gives the place of
 * each entry's bytes, so that they can be used where they lie.
 * Source: APPNOTE.TXT of PKWARE, sections 4.3 to 4.5 (zip64 included). SPDX-License-Identifier: MIT
 */
#ifndef PQ_WIRE_ZIP_H
#define PQ_WIRE_ZIP_H

#include "base/mem.h"

struct pq_zip_entry {
    const char *name;  /* in the arena */
    uint64_t head;     /* offset of its local header */
    uint64_t at, size; /* its bytes in the file, checked */
};

struct pq_zip {
    struct pq_zip_entry *entry; /* sorted by name */
    size_t n;
};

/* Refuses with words: no end record, compressed, encrypted or split archives, entries whose local
 * header says something else, that overlap, or that pass the central directory. */
int pq_zip_parse(struct pq_zip *out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                 const char *file, struct pq_err *e) PQ_MUST_CHECK;

const struct pq_zip_entry *pq_zip_find(const struct pq_zip *z, const char *name);

#endif
