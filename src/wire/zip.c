/* The central directory of a zip archive, zip64 included. SPDX-License-Identifier: MIT */
#include "wire/zip.h"

#include "base/num.h"

#include <inttypes.h>
#include <stdlib.h>

enum { /* sizes of the fixed parts, and signatures' lengths included */
       LOCAL = 30,
       CENTRAL = 46,
       END = 22,
       END64 = 56,
       LOCATOR = 20,
       MAX_COMMENT = 65535,
       FLAG_ENCRYPTED = 1 << 0,
       FLAG_SIZES_AFTER = 1 << 3, /* the local header holds zeros */
       EXTRA_ZIP64 = 1
};

#define SIG_LOCAL 0x04034b50u
#define SIG_CENTRAL 0x02014b50u
#define SIG_END 0x06054b50u
#define SIG_END64 0x06064b50u
#define SIG_LOCATOR 0x07064b50u

struct archive {
    struct pq_arena *a;
    const uint8_t *data;
    uint64_t size;
    const char *file;
    struct pq_err *e;
    uint64_t dir_at, dir_size, count;
};

static int bad(const struct archive *z, const char *what)
{
    return pq_fail(z->e, PQ_EFORMAT, "%s: bad zip archive: %s", z->file, what);
}

static int bad_entry(const struct archive *z, const char *name, const char *what)
{
    return pq_fail(z->e, PQ_EFORMAT, "%s: bad zip archive: entry %s: %s", z->file, name, what);
}

static int oom(const struct archive *z)
{
    return pq_fail(z->e, PQ_ENOMEM, "%s: out of memory for its directory", z->file);
}

/* The end record is last but for a comment, whose length it holds. */
static const uint8_t *find_end(const struct archive *z)
{
    if (z->size < END)
        return NULL;
    uint64_t most = z->size - END < MAX_COMMENT ? z->size - END : MAX_COMMENT;
    for (uint64_t comment = 0; comment <= most; comment++) {
        const uint8_t *p = z->data + z->size - END - comment;
        if (pq_le32(p) == SIG_END && pq_le16(p + 20) == comment)
            return p;
    }
    return NULL;
}

/* The zip64 end record replaces what the small one says; `at` is where the small one lies. */
static int read_end64(struct archive *z, uint64_t *at)
{
    const uint8_t *loc = z->data + *at - LOCATOR;
    uint64_t end = pq_le64(loc + 8);
    if (*at < LOCATOR + END64 || end > *at - LOCATOR - END64 || pq_le32(z->data + end) != SIG_END64)
        return bad(z, "its zip64 end record is not where its locator says");
    const uint8_t *p = z->data + end;
    if (pq_le32(loc + 4) || pq_le32(loc + 16) > 1 || pq_le32(p + 16) || pq_le32(p + 20))
        return bad(z, "it is split over several files");
    z->count = pq_le64(p + 32);
    z->dir_size = pq_le64(p + 40);
    z->dir_at = pq_le64(p + 48);
    *at = end;
    return PQ_OK;
}

static int read_end(struct archive *z)
{
    const uint8_t *p = find_end(z);
    if (!p)
        return bad(z, "no end record (cut short?)");
    if (pq_le16(p + 4) || pq_le16(p + 6))
        return bad(z, "it is split over several files");
    z->count = pq_le16(p + 10);
    z->dir_size = pq_le32(p + 12);
    z->dir_at = pq_le32(p + 16);
    uint64_t at = (uint64_t)(p - z->data);
    if (at >= LOCATOR && pq_le32(p - LOCATOR) == SIG_LOCATOR) {
        int rc = read_end64(z, &at);
        if (rc < 0)
            return rc;
    }
    if (z->dir_at > at || z->dir_size != at - z->dir_at)
        return bad(z, "its directory does not end at its end record");
    if (z->count > z->dir_size / CENTRAL)
        return bad(z, "its directory is too small for its number of entries");
    return PQ_OK;
}

/* Sizes and offset of 0xffffffff are found, in this order, in the zip64 extra field. */
static bool read_zip64(const uint8_t *extra, uint64_t n, uint64_t *const v[], size_t nv)
{
    while (n >= 4) {
        uint64_t len = pq_le16(extra + 2);
        if (len > n - 4)
            return false;
        if (pq_le16(extra) == EXTRA_ZIP64) {
            const uint8_t *p = extra + 4;
            for (size_t i = 0; i < nv; i++) {
                if (*v[i] != UINT32_MAX)
                    continue;
                if (len < 8)
                    return false;
                *v[i] = pq_le64(p);
                p += 8;
                len -= 8;
            }
            return true;
        }
        extra += 4 + len;
        n -= 4 + len;
    }
    for (size_t i = 0; i < nv; i++)
        if (*v[i] == UINT32_MAX)
            return false;
    return true;
}

/* The local header must agree with the directory; some readers trust one, some the other. */
static int check_local(const struct archive *z, struct pq_zip_entry *t)
{
    bool fits = t->head <= z->dir_at && z->dir_at - t->head >= LOCAL;
    const uint8_t *p = z->data + (fits ? t->head : 0);
    if (!fits || pq_le32(p) != SIG_LOCAL)
        return bad_entry(z, t->name, "no local header where the directory says");
    uint64_t n_name = pq_le16(p + 26), n_extra = pq_le16(p + 28);
    uint64_t left = z->dir_at - t->head - LOCAL;
    if (n_name + n_extra > left || t->size > left - n_name - n_extra)
        return bad_entry(z, t->name, "its bytes pass the start of the directory");
    if (n_name != strlen(t->name) || memcmp(p + LOCAL, t->name, n_name))
        return bad_entry(z, t->name, "its local header has another name");
    if (pq_le16(p + 8))
        return bad_entry(z, t->name, "its local header says that it is compressed");
    uint32_t flags = pq_le16(p + 6), stored = pq_le32(p + 18), full = pq_le32(p + 22);
    if (flags & FLAG_ENCRYPTED)
        return bad_entry(z, t->name, "its local header says that it is encrypted");
    if (!(flags & FLAG_SIZES_AFTER) && stored != UINT32_MAX &&
        (stored != t->size || full != t->size))
        return bad_entry(z, t->name, "its local header has another size");
    t->at = t->head + LOCAL + n_name + n_extra;
    return PQ_OK;
}

static int check_stored(const struct archive *z, const char *name, const uint8_t *p)
{
    unsigned flags = pq_le16(p + 8), method = pq_le16(p + 10);
    if (flags & FLAG_ENCRYPTED)
        return pq_fail(z->e, PQ_EUNSUPPORTED, "%s: entry %s is encrypted", z->file, name);
    if (method)
        return pq_fail(z->e, PQ_EUNSUPPORTED,
                       "%s: entry %s is compressed (method %u); torch.save stores entries as they "
                       "are, and only such archives are read",
                       z->file, name, method);
    return pq_le16(p + 34) ? bad_entry(z, name, "it lies in another file of a split archive")
                           : PQ_OK;
}

/* Reads the directory entry at *p, with `left` bytes up to the directory's end. */
static int read_entry(const struct archive *z, struct pq_zip_entry *t, const uint8_t **at,
                      uint64_t left)
{
    const uint8_t *p = *at;
    if (left < CENTRAL || pq_le32(p) != SIG_CENTRAL)
        return bad(z, "its directory is damaged");
    uint64_t n_name = pq_le16(p + 28), n_extra = pq_le16(p + 30), n_comment = pq_le16(p + 32);
    if (n_name + n_extra + n_comment > left - CENTRAL)
        return bad(z, "its directory is cut short");
    if (!n_name || memchr(p + CENTRAL, 0, n_name))
        return bad(z, "an entry has no name or one with a NUL byte");
    t->name = pq_arena_strndup(z->a, (const char *)p + CENTRAL, n_name);
    if (!t->name)
        return oom(z);
    uint64_t stored = pq_le32(p + 20);
    t->size = pq_le32(p + 24);
    t->head = pq_le32(p + 42);
    uint64_t *const wide[] = {&t->size, &stored, &t->head};
    if (!read_zip64(p + CENTRAL + n_name, n_extra, wide, PQ_LEN(wide)))
        return bad_entry(z, t->name, "its zip64 sizes are missing or damaged");
    int rc = check_stored(z, t->name, p);
    if (rc < 0)
        return rc;
    if (stored != t->size)
        return bad_entry(z, t->name, "stored with two different sizes");
    *at = p + CENTRAL + n_name + n_extra + n_comment;
    return check_local(z, t);
}

static int by_place(const void *pa, const void *pb)
{
    uint64_t a = ((const struct pq_zip_entry *)pa)->head;
    uint64_t b = ((const struct pq_zip_entry *)pb)->head;
    return a < b ? -1 : a > b;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct pq_zip_entry *)a)->name, ((const struct pq_zip_entry *)b)->name);
}

/* No two entries share bytes or a name. Leaves them sorted by name. */
static int check_entries(const struct archive *z, struct pq_zip *out)
{
    struct pq_zip_entry *t = out->entry;
    qsort(t, out->n, sizeof *t, by_place);
    for (size_t i = 1; i < out->n; i++)
        if (t[i].head < t[i - 1].at + t[i - 1].size)
            return bad_entry(z, t[i].name, "it overlaps the entry before it");
    qsort(t, out->n, sizeof *t, by_name);
    for (size_t i = 1; i < out->n; i++)
        if (!strcmp(t[i].name, t[i - 1].name))
            return bad_entry(z, t[i].name, "it is there twice");
    return PQ_OK;
}

int pq_zip_parse(struct pq_zip *out, struct pq_arena *a, const uint8_t *data, uint64_t size,
                 const char *file, struct pq_err *e)
{
    struct archive z = {.a = a, .data = data, .size = size, .file = file, .e = e};
    *out = (struct pq_zip){0};
    int rc = read_end(&z);
    if (rc < 0)
        return rc;
    out->entry = (struct pq_zip_entry *)pq_arena_alloc(a, z.count, sizeof *out->entry);
    if (!out->entry)
        return oom(&z);
    const uint8_t *p = data + z.dir_at, *end = p + z.dir_size;
    for (out->n = 0; out->n < z.count; out->n++)
        if ((rc = read_entry(&z, &out->entry[out->n], &p, (uint64_t)(end - p))) < 0)
            return rc;
    if (p != end)
        return bad(&z, "its directory has more entries than its end record says");
    return check_entries(&z, out);
}

const struct pq_zip_entry *pq_zip_find(const struct pq_zip *z, const char *name)
{
    struct pq_zip_entry key = {.name = name};
    return z->n ? (const struct pq_zip_entry *)bsearch(&key, z->entry, z->n, sizeof key, by_name)
                : NULL;
}
