/* The text that is measured or calibrated on, in windows as llama-perplexity and llama-imatrix cut
 * it. Source of the protocol: tools/perplexity of llama.cpp. SPDX-License-Identifier: MIT */
#include "eval/eval.h"

#define USUAL_WINDOW 512
#define MAX_TEXT (1u << 30)

int pq_windows_size(uint32_t *size, int wanted, const struct pq_model *m, struct pq_err *e)
{
    const uint32_t limit = m->net.hp.max_position;
    if (!*size)
        *size = wanted ? (uint32_t)wanted : limit < USUAL_WINDOW ? limit : USUAL_WINDOW;
    if (*size > limit || *size < 4)
        return pq_fail(e, PQ_EINVAL, "%s: a window of %u tokens: expected 4 to %u", m->path, *size,
                       limit);
    return PQ_OK;
}

static int tokens_of(struct pq_windows *w, const struct pq_tokenizer *t, const char *path,
                     struct pq_err *e)
{
    char *data = NULL;
    size_t size;
    int rc = pq_file_read(path, MAX_TEXT, &data, &size, e);
    if (rc >= 0)
        rc = pq_tokenizer_encode(t, data, size, PQ_ENCODE_ENDS | PQ_ENCODE_PLAIN_SPECIAL, &w->ids,
                                 e);
    pq_free(data);
    return rc;
}

int pq_windows_read(struct pq_windows *w, const struct pq_tokenizer *t, const struct pq_model *m,
                    const char *path, uint64_t max, struct pq_err *e)
{
    const struct pq_vocab *v = &m->vocab;
    int rc = tokens_of(w, t, path, e);
    if (rc < 0)
        return rc;
    w->n = w->ids.n / w->size;
    if (max && w->n > max)
        w->n = max;
    if (!w->n)
        return pq_fail(e, PQ_EINVAL,
                       "%s: %zu tokens do not fill one window of %u: take a longer text or a "
                       "smaller --window",
                       path, w->ids.n, w->size);
    for (uint64_t i = 0; v->add_bos && v->bos >= 0 && i < w->n; i++)
        w->ids.id[i * w->size] = (uint32_t)v->bos;
    return PQ_OK;
}

void pq_windows_free(struct pq_windows *w)
{
    pq_ids_free(&w->ids);
}
