/* Any bytes as text, and as ids: a text comes back, a stream is whole characters. The first byte
 * chooses the tokenizer and the flags. SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "base/num.h"
#include "tok/tokenizer.h"
#include "tok/utf8.h"

static const struct {
    const char *dir;
    size_t n_vocab;
} sources[] = {
    {PQ_TEST_DATA "/fixtures/phi2", 520},
    {PQ_TEST_DATA "/fixtures/phi3-mini-4k", 496},
    {PQ_TEST_DATA "/fixtures/phi4", 520},
    {PQ_TEST_DATA "/fixtures/phi4-mini", 520},
};

static struct made {
    struct pq_vocab v;
    struct pq_tokenizer *t;
} made[PQ_LEN(sources)];

static struct pq_arena arena; /* lives as long as the process */

static const struct made *tokenizer(size_t i)
{
    struct made *m = &made[i];
    if (!m->t) {
        REQUIRE(pq_vocab_load(&m->v, &arena, sources[i].dir, sources[i].n_vocab, NULL) == PQ_OK);
        REQUIRE(pq_tokenizer_new(&m->t, &m->v, NULL) == PQ_OK);
    }
    return m;
}

static bool has(const uint8_t *data, size_t n, const char *what)
{
    size_t len = strlen(what);
    for (size_t i = 0; i + len <= n; i++)
        if (!memcmp(data + i, what, len))
            return true;
    return false;
}

static void check_stream(const struct made *m, const struct pq_ids *ids, unsigned flags)
{
    struct pq_detok d;
    struct pq_buf out = {0};
    pq_detok_begin(&d, m->t, flags);
    for (size_t i = 0; i < ids->n; i++)
        REQUIRE(pq_detok_put(&d, ids->id[i], &out, NULL) == PQ_OK && d.held.len < 4);
    REQUIRE(pq_detok_end(&d, &out, NULL) == PQ_OK);
    for (size_t i = 0, k; i < out.len; i += k)
        REQUIRE((k = pq_utf8_len((const char *)out.data + i, out.len - i)) > 0);
    pq_buf_free(&out);
}

static void check_text(const struct made *m, const uint8_t *data, size_t n, unsigned flags)
{
    struct pq_ids ids = {0};
    struct pq_buf back = {0};
    REQUIRE(pq_tokenizer_encode(m->t, (const char *)data, n, flags, &ids, NULL) == PQ_OK);
    for (size_t i = 0; i < ids.n; i++)
        REQUIRE(ids.id[i] < m->v.n_tokens);
    REQUIRE(pq_tokenizer_decode(m->t, ids.id, ids.n, PQ_DECODE_SKIP_SPECIAL, &back, NULL) == PQ_OK);
    if (!has(data, n, "<") && !has(data, n, "\xe2\x96\x81"))
        REQUIRE(back.len == n && (!n || !memcmp(back.data, data, n)));
    check_stream(m, &ids, flags & 1);
    pq_buf_free(&back);
    pq_ids_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_ids ids = {0};
    if (!size)
        return 0;
    const struct made *m = tokenizer(data[0] % PQ_LEN(sources));
    unsigned flags = data[0] / PQ_LEN(sources) & 3;
    check_text(m, data + 1, size - 1, flags);
    for (size_t i = 1; i + 1 < size; i += 2)
        REQUIRE(pq_ids_put(&ids, pq_le16(data + i) % 530u));
    check_stream(m, &ids, flags & 1);
    pq_ids_free(&ids);
    return 0;
}
