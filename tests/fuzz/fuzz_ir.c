/* IR documents: a status in words, or layers whose references lead to outputs that are there, and
 * constants inside the data. SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "wire/ir.h"

enum { DATA_BYTES = 1 << 16 };

static void check_layer(const struct pq_ir *m, const struct pq_ir_layer *l,
                        const struct pq_ir_text *text)
{
    struct pq_err e = {0};
    struct pq_ir_const c;
    REQUIRE(l->name && l->type && l->version);
    for (size_t i = 0; i < l->n_in; i++)
        REQUIRE(l->in[i].layer && l->in[i].layer <= m->n_layers &&
                l->in[i].port < m->layer[l->in[i].layer - 1].n_out);
    for (size_t i = 0; i < l->n_out; i++)
        REQUIRE(l->out[i].n_dims >= 0 && l->out[i].n_dims <= PQ_IR_MAX_DIMS);
    for (size_t i = 0; i < l->n_attr; i++)
        REQUIRE(pq_ir_attr(l, l->attr[i].key));
    if (pq_ir_const(&c, l, text, DATA_BYTES, &e) < 0)
        REQUIRE(e.code && e.msg[0]);
    else
        REQUIRE(c.offset <= DATA_BYTES && c.bytes <= DATA_BYTES - c.offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_ir m;
    const struct pq_ir_text text = {data, size, "x"};
    if (pq_ir_parse(&m, &a, &text, &e) < 0)
        REQUIRE(e.code && e.msg[0]);
    for (size_t i = 0; !e.code && i < m.n_layers; i++)
        check_layer(&m, &m.layer[i], &text);
    for (size_t i = 0; !e.code && i < m.n_info; i++)
        REQUIRE(pq_ir_info(&m, m.info[i].key));
    pq_arena_free(&a);
    return 0;
}
