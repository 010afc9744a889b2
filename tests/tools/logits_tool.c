/*
 * logits_tool MODEL fast|exact: logits of all positions of a text, for test_logits.py. Ids of 32
 * bits in, float32 [n][vocabulary] out, both little-endian as this machine has them; keys and
 * values in single precision. SPDX-License-Identifier: MIT
 */
#include "infer/session.h"

#include <stdio.h>
#include <string.h>

enum { MOST = 1 << 16 };

static int run(const char *path, bool fast, const uint32_t *id, size_t n, struct pq_err *e)
{
    struct pq_model *m = NULL;
    struct pq_session *s = NULL;
    float *logits = NULL;
    int rc;
    PQ_TRY(pq_model_load(&m, path, e));
    struct pq_session_setup setup = {.kv = PQ_KV_F32, .threads = 1, .fast = fast};
    PQ_TRY(pq_session_new(&s, m, &setup, e));
    logits = (float *)pq_calloc(n * m->net.hp.vocab, sizeof *logits);
    if (!logits)
        PQ_TRY(pq_fail(e, PQ_ENOMEM, "out of memory for logits"));
    PQ_TRY(pq_session_read(s, id, n, logits, e));
    fwrite(logits, sizeof *logits * m->net.hp.vocab, n, stdout);
out:
    pq_free(logits);
    pq_session_free(s);
    pq_model_free(m);
    return rc;
}

int main(int argc, char **argv)
{
    static uint32_t id[MOST];
    struct pq_err e = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: logits_tool MODEL fast|exact < ids\n");
        return 2;
    }
    size_t n = fread(id, sizeof *id, MOST, stdin);
    if (run(argv[1], !strcmp(argv[2], "fast"), id, n, &e) < 0) {
        fprintf(stderr, "%s\n", e.msg);
        return 1;
    }
    return 0;
}
