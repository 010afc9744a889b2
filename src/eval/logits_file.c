/* A reference's predictions kept in a file, see eval.h. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "eval/eval.h"

#include <inttypes.h>

static const char MAGIC[8] = "PQLOGP1";

enum { HEAD_BYTES = 64 };

static bool file_bytes(const struct pq_logits_head *h, uint64_t *bytes)
{
    uint64_t rows, n;
    return pq_mul_u64(h->windows, h->per_window, &rows) && pq_mul_u64(rows, h->vocab, &n) &&
           pq_mul_u64(n, 4, &n) && pq_add_u64(n, HEAD_BYTES, bytes);
}

static uint64_t row_at(const struct pq_logits_head *h, uint64_t position)
{
    return HEAD_BYTES + position * h->vocab * 4;
}

bool pq_logits_is(const char *path)
{
    struct pq_map m;
    struct pq_err ignored;
    if (pq_path_kind(path) != PQ_PATH_FILE || pq_map_open(&m, path, &ignored) < 0)
        return false;
    bool is = m.size >= HEAD_BYTES && !memcmp(m.data, MAGIC, sizeof MAGIC);
    pq_map_close(&m);
    return is;
}

static int check_head(const struct pq_logits_file *f, struct pq_err *e)
{
    const struct pq_logits_head *h = &f->head;
    uint64_t bytes;
    if (!h->vocab || !h->per_window || h->per_window >= h->window || !h->windows)
        return pq_fail(e, PQ_EFORMAT,
                       "%s: a header of %u tokens a window, %u scored, %" PRIu64 " windows and a "
                       "vocabulary of %u makes no sense",
                       f->map.path, h->window, h->per_window, h->windows, h->vocab);
    if (!file_bytes(h, &bytes) || bytes != f->map.size)
        return pq_fail(e, PQ_EFORMAT, "%s: %" PRIu64 " bytes are not those of its header",
                       f->map.path, f->map.size);
    return PQ_OK;
}

int pq_logits_open(struct pq_logits_file *f, const char *path, struct pq_err *e)
{
    int rc = pq_map_open(&f->map, path, e);
    if (rc < 0)
        return rc;
    const uint8_t *p = f->map.data;
    if (f->map.size < HEAD_BYTES || memcmp(p, MAGIC, sizeof MAGIC)) {
        rc = pq_fail(e, PQ_EFORMAT, "%s: not a file of saved predictions", path);
    } else {
        f->head = (struct pq_logits_head){pq_le32(p + 8), pq_le32(p + 12), pq_le32(p + 16),
                                          pq_le64(p + 24), pq_le64(p + 32)};
        rc = check_head(f, e);
    }
    if (rc < 0)
        pq_logits_close(f);
    return rc;
}

void pq_logits_row(const struct pq_logits_file *f, uint64_t position, float *row)
{
    const uint8_t *p = f->map.data + row_at(&f->head, position);
    for (uint32_t i = 0; i < f->head.vocab; i++)
        row[i] = pq_bits_f32(pq_le32(p + 4 * (size_t)i));
}

void pq_logits_close(struct pq_logits_file *f)
{
    if (f->map.data)
        pq_map_close(&f->map);
    *f = (struct pq_logits_file){0};
}

/* ---- writing ---- */

static int put_head(struct pq_logits_out *f, struct pq_err *e)
{
    uint8_t b[HEAD_BYTES] = {0};
    const struct pq_logits_head *h = &f->head;
    memcpy(b, MAGIC, sizeof MAGIC);
    pq_put_le32(b + 8, h->vocab);
    pq_put_le32(b + 12, h->window);
    pq_put_le32(b + 16, h->per_window);
    pq_put_le32(b + 24, (uint32_t)h->windows);
    pq_put_le32(b + 28, (uint32_t)(h->windows >> 32));
    pq_put_le32(b + 32, (uint32_t)h->text_hash);
    pq_put_le32(b + 36, (uint32_t)(h->text_hash >> 32));
    return pq_out_put(&f->file.out, b, sizeof b, 0, e);
}

int pq_logits_create(struct pq_logits_out *f, const char *path, const struct pq_logits_head *head,
                     struct pq_err *e)
{
    uint64_t bytes;
    *f = (struct pq_logits_out){.head = *head};
    if (!file_bytes(head, &bytes))
        return pq_fail(e, PQ_EINVAL, "%s: so many predictions do not fit a file", path);
    int rc = pq_whole_create(&f->file, path, bytes, e);
    return rc < 0 ? rc : put_head(f, e);
}

int pq_logits_put(struct pq_logits_out *f, uint64_t position, const float *row, struct pq_err *e)
{
    enum { STEP = 1024 };
    uint8_t b[4 * STEP];
    int rc = PQ_OK;
    for (uint32_t i = 0; rc >= 0 && i < f->head.vocab; i += STEP) {
        const uint32_t n = f->head.vocab - i < STEP ? f->head.vocab - i : STEP;
        for (uint32_t k = 0; k < n; k++)
            pq_put_le32(b + 4 * k, pq_f32_bits(row[i + k]));
        rc = pq_out_put(&f->file.out, b, 4 * (size_t)n,
                        row_at(&f->head, position) + 4 * (uint64_t)i, e);
    }
    return rc;
}
