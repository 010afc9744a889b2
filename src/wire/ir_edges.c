/* Edges of IR documents: from numbers of layers and ports to references, see ir_inside.h.
 * SPDX-License-Identifier: MIT */
#include "wire/ir_inside.h"

#include <inttypes.h>
#include <stdlib.h>

static int by_id(const void *a, const void *b)
{
    const uint64_t x = ((const struct pq_ir_node *)a)->id, y = ((const struct pq_ir_node *)b)->id;
    return x < y ? -1 : x > y;
}

static int sort_nodes(struct pq_ir_raw *raw, size_t n, struct pq_err *e)
{
    if (n)
        qsort(raw->node, n, sizeof *raw->node, by_id);
    for (size_t i = 1; i < n; i++)
        if (raw->node[i - 1].id == raw->node[i].id)
            return pq_fail(e, PQ_EFORMAT, "%s: two layers have the id %" PRIu64, raw->path,
                           raw->node[i].id);
    return PQ_OK;
}

/* Which of n ports has this id; n when none has. */
static size_t port_of(const struct pq_ir_raw *raw, size_t first, size_t n, uint64_t id)
{
    size_t i = 0;
    while (i < n && raw->port[first + i] != id)
        i++;
    return i;
}

static int bad_edge(const struct pq_ir_raw *raw, const struct pq_ir_edge *g, const char *what,
                    struct pq_err *e)
{
    return pq_fail(e, PQ_EFORMAT,
                   "%s: the edge from layer %" PRIu64 ", port %" PRIu64 " to layer %" PRIu64
                   ", port %" PRIu64 " %s",
                   raw->path, g->from, g->from_port, g->to, g->to_port, what);
}

static const struct pq_ir_node *node_of(const struct pq_ir_raw *raw, size_t n, uint64_t id)
{
    const struct pq_ir_node key = {.id = id};
    if (!n)
        return NULL;
    return (const struct pq_ir_node *)bsearch(&key, raw->node, n, sizeof key, by_id);
}

static int connect(const struct pq_ir *m, const struct pq_ir_raw *raw, const struct pq_ir_edge *g,
                   struct pq_err *e)
{
    const struct pq_ir_node *from = node_of(raw, m->n_layers, g->from);
    const struct pq_ir_node *to = node_of(raw, m->n_layers, g->to);
    if (!from || !to)
        return bad_edge(raw, g, "ends at a layer that is not there", e);
    const size_t first_out = m->layer[from->index].n_in, n_out = m->layer[from->index].n_out;
    const size_t n_in = m->layer[to->index].n_in;
    const size_t out = port_of(raw, from->port + first_out, n_out, g->from_port);
    const size_t in = port_of(raw, to->port, n_in, g->to_port);
    if (out == n_out || in == n_in)
        return bad_edge(raw, g, "ends at a port that is not there", e);
    if (to->in[in].layer)
        return bad_edge(raw, g, "is the second into this port", e);
    to->in[in] = (struct pq_ir_ref){(uint32_t)from->index + 1, (uint32_t)out};
    return PQ_OK;
}

static int check_inputs(const struct pq_ir *m, const char *path, struct pq_err *e)
{
    for (size_t i = 0; i < m->n_layers; i++)
        for (size_t k = 0; k < m->layer[i].n_in; k++)
            if (!m->layer[i].in[k].layer)
                return pq_fail(e, PQ_EFORMAT, "%s: layer %s: no edge leads to its input %zu", path,
                               m->layer[i].name, k);
    return PQ_OK;
}

int pq_ir_connect(const struct pq_ir *m, struct pq_ir_raw *raw, struct pq_err *e)
{
    int rc = PQ_OK;
    PQ_TRY(sort_nodes(raw, m->n_layers, e));
    for (size_t i = 0; i < raw->n_edges; i++)
        PQ_TRY(connect(m, raw, &raw->edge[i], e));
    PQ_TRY(check_inputs(m, raw->path, e));
out:
    return rc;
}
