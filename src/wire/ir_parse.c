/*
 * OpenVINO IR documents into plain structs, see ir.h. What an element means follows from
 * the element around it; those that nobody needs are passed over with all they hold.
 * SPDX-License-Identifier: MIT
 */
#include "base/num.h"
#include "wire/ir_inside.h"
#include "wire/xml.h"

#include <inttypes.h>

/* Far above any model of a language: these keep what a hostile file makes us do near its size. */
#define MAX_LAYERS (1u << 20)
#define MAX_EDGES (1u << 22)
#define MAX_PORTS 1024u /* of one layer: finding one is linear */
#define MAX_KEY 256     /* of a remark's path */

enum element {
    DOCUMENT,
    NET,
    LAYERS,
    LAYER,
    LAYER_REMARKS,
    INPUTS,
    OUTPUTS,
    OUTPUT,
    DIM,
    EDGES,
    REMARKS,
    EMPTY, /* known, holds nothing of interest */
    UNKNOWN
};

struct list {
    void *item;
    size_t n, max;
};

struct parser {
    struct pq_xml xml;
    struct pq_ir *m;
    struct pq_arena *a;
    enum element open[PQ_XML_MAX_DEPTH];
    const char *key[PQ_XML_MAX_DEPTH];             /* paths of open remarks */
    struct list layers, nodes, ports, edges, info; /* pq_ir_layer, node, uint64_t, edge, attr */
    struct list values;                            /* outputs of the open layer */
    char dim[24];                                  /* text of the open dim */
    size_t dim_len;
};

#define FAIL(p, ...) pq_xml_fail(&(p)->xml, __VA_ARGS__)

/* A zeroed item at the end; NULL when memory is out. */
static void *push(struct parser *p, struct list *l, size_t size)
{
    if (l->n == l->max) {
        const size_t max = l->max ? 2 * l->max : 64;
        void *item = pq_realloc(l->item, max, size);
        if (!item) {
            pq_xml_no_memory(&p->xml);
            return NULL;
        }
        l->item = item;
        l->max = max;
    }
    void *at = (char *)l->item + l->n++ * size;
    memset(at, 0, size);
    return at;
}

static const char *keep(struct parser *p, const char *s)
{
    const char *copy = pq_arena_strdup(p->a, s);
    if (!copy)
        pq_xml_no_memory(&p->xml);
    return copy;
}

/* ---- attributes ---- */

static bool need_number(struct parser *p, const char *element, const char **atts, const char *key,
                        uint64_t *v)
{
    const char *s = pq_xml_attr(atts, key);
    if (!s)
        FAIL(p, PQ_EFORMAT, "<%s> lacks its %s", element, key);
    else if (!pq_ir_number(s, v))
        FAIL(p, PQ_EFORMAT, "<%s>: %s is \"%.40s\", expected a number", element, key, s);
    return p->xml.rc >= 0;
}

/* ---- elements ---- */

static struct pq_ir_layer *last_layer(struct parser *p)
{
    return (struct pq_ir_layer *)p->layers.item + p->layers.n - 1;
}

static struct pq_ir_node *last_node(struct parser *p)
{
    return (struct pq_ir_node *)p->nodes.item + p->nodes.n - 1;
}

static void start_net(struct parser *p, const char **atts)
{
    const char *name = pq_xml_attr(atts, "name"), *version = pq_xml_attr(atts, "version");
    if (!version || strcmp(version, "11"))
        FAIL(p, PQ_EUNSUPPORTED, "version %.20s of OpenVINO's IR is not read, only 11",
             version ? version : "(none)");
    else
        p->m->name = keep(p, name ? name : "");
}

static void start_layer(struct parser *p, const char **atts)
{
    const char *name = pq_xml_attr(atts, "name"), *type = pq_xml_attr(atts, "type");
    const char *version = pq_xml_attr(atts, "version");
    uint64_t id;
    if (!need_number(p, "layer", atts, "id", &id))
        return;
    if (!name || !type) {
        FAIL(p, PQ_EFORMAT, "layer %" PRIu64 " lacks its %s", id, name ? "type" : "name");
        return;
    }
    if (p->layers.n == MAX_LAYERS) {
        FAIL(p, PQ_EFORMAT, "more than %u layers", MAX_LAYERS);
        return;
    }
    struct pq_ir_layer *l = (struct pq_ir_layer *)push(p, &p->layers, sizeof *l);
    struct pq_ir_node *n = l ? (struct pq_ir_node *)push(p, &p->nodes, sizeof *n) : NULL;
    if (!n)
        return;
    *n = (struct pq_ir_node){.id = id, .index = p->layers.n - 1, .port = p->ports.n};
    l->name = keep(p, name);
    l->type = keep(p, type);
    l->version = keep(p, version ? version : "opset1");
    p->values.n = 0;
}

static void start_data(struct parser *p, const char **atts)
{
    struct pq_ir_layer *l = last_layer(p);
    size_t n = 0;
    while (atts[2 * n])
        n++;
    struct pq_ir_attr *attr = (struct pq_ir_attr *)pq_arena_alloc(p->a, n ? n : 1, sizeof *attr);
    if (!attr) {
        pq_xml_no_memory(&p->xml);
        return;
    }
    for (size_t i = 0; i < n && p->xml.rc >= 0; i++)
        attr[i] = (struct pq_ir_attr){keep(p, atts[2 * i]), keep(p, atts[2 * i + 1])};
    l->attr = attr;
    l->n_attr = n;
}

static void start_layer_remark(struct parser *p, const char **atts)
{
    const char *name = pq_xml_attr(atts, "name");
    if (name && !strcmp(name, "decompression"))
        last_layer(p)->decompression = true;
}

/* Enters the id of a port; ids are the layer's own and occur once. */
static bool add_port(struct parser *p, const char **atts)
{
    uint64_t id;
    const struct pq_ir_node *n = last_node(p);
    if (!need_number(p, "port", atts, "id", &id))
        return false;
    const uint64_t *have = (const uint64_t *)p->ports.item;
    for (size_t i = n->port; i < p->ports.n; i++)
        if (have[i] == id) {
            FAIL(p, PQ_EFORMAT, "layer %s has two ports %" PRIu64, last_layer(p)->name, id);
            return false;
        }
    if (p->ports.n - n->port == MAX_PORTS) {
        FAIL(p, PQ_EFORMAT, "layer %s has more than %u ports", last_layer(p)->name, MAX_PORTS);
        return false;
    }
    uint64_t *at = (uint64_t *)push(p, &p->ports, sizeof *at);
    if (at)
        *at = id;
    return at != NULL;
}

static void start_input(struct parser *p, const char **atts)
{
    struct pq_ir_layer *l = last_layer(p);
    if (l->n_out)
        FAIL(p, PQ_EFORMAT, "layer %s has an input after its outputs", l->name);
    else if (add_port(p, atts))
        l->n_in++;
}

static void start_output(struct parser *p, const char **atts)
{
    const char *type = pq_xml_attr(atts, "precision"), *names = pq_xml_attr(atts, "names");
    if (!add_port(p, atts))
        return;
    struct pq_ir_value *v = (struct pq_ir_value *)push(p, &p->values, sizeof *v);
    if (!v)
        return;
    v->type = type ? pq_ir_type_find(type) : PQ_IR_NONE;
    v->names = names ? keep(p, names) : NULL;
    last_layer(p)->n_out++;
}

static void start_dim(struct parser *p, const char **atts)
{
    (void)atts;
    p->dim_len = 0;
}

static void start_edge(struct parser *p, const char **atts)
{
    struct pq_ir_edge e;
    if (!need_number(p, "edge", atts, "from-layer", &e.from) ||
        !need_number(p, "edge", atts, "from-port", &e.from_port) ||
        !need_number(p, "edge", atts, "to-layer", &e.to) ||
        !need_number(p, "edge", atts, "to-port", &e.to_port))
        return;
    if (p->edges.n == MAX_EDGES) {
        FAIL(p, PQ_EFORMAT, "more than %u edges", MAX_EDGES);
        return;
    }
    struct pq_ir_edge *at = (struct pq_ir_edge *)push(p, &p->edges, sizeof *at);
    if (at)
        *at = e;
}

/* A remark's path is those of the elements around it; <info name="..."/> stands for names that are
 * none of an element. */
static void start_remark(struct parser *p, const char *element, const char **atts)
{
    const char *name = pq_xml_attr(atts, "name"), *value = pq_xml_attr(atts, "value");
    const char *above = p->open[p->xml.depth - 2] == REMARKS ? p->key[p->xml.depth - 2] : NULL;
    const char *word = name && !strcmp(element, "info") ? name : element;
    if (strlen(word) + (above ? strlen(above) : 0) > MAX_KEY) {
        FAIL(p, PQ_EFORMAT, "a remark's path is longer than %d bytes", MAX_KEY);
        return;
    }
    const char *key = above ? pq_arena_printf(p->a, "%s/%s", above, word) : keep(p, word);
    p->key[p->xml.depth - 1] = key;
    if (!key)
        pq_xml_no_memory(&p->xml);
    if (!key || !value)
        return;
    struct pq_ir_attr *at = (struct pq_ir_attr *)push(p, &p->info, sizeof *at);
    if (at)
        *at = (struct pq_ir_attr){key, keep(p, value)};
}

static const struct known {
    const char *name;
    enum element within, is;
    void (*start)(struct parser *p, const char **atts);
} known[] = {
    {"net", DOCUMENT, NET, start_net},
    {"layers", NET, LAYERS, NULL},
    {"layer", LAYERS, LAYER, start_layer},
    {"data", LAYER, EMPTY, start_data},
    {"rt_info", LAYER, LAYER_REMARKS, NULL},
    {"attribute", LAYER_REMARKS, EMPTY, start_layer_remark},
    {"input", LAYER, INPUTS, NULL},
    {"port", INPUTS, EMPTY, start_input},
    {"output", LAYER, OUTPUTS, NULL},
    {"port", OUTPUTS, OUTPUT, start_output},
    {"dim", OUTPUT, DIM, start_dim},
    {"edges", NET, EDGES, NULL},
    {"edge", EDGES, EMPTY, start_edge},
};

static enum element what_is(const struct known **k, enum element within, const char *name)
{
    for (size_t i = 0; i < PQ_LEN(known); i++)
        if (known[i].within == within && !strcmp(known[i].name, name)) {
            *k = &known[i];
            return known[i].is;
        }
    return within == REMARKS || (within == NET && !strcmp(name, "rt_info")) ? REMARKS : UNKNOWN;
}

static void on_start(void *ctx, const char *name, const char **atts)
{
    struct parser *p = (struct parser *)ctx;
    const int at = p->xml.depth - 1;
    const enum element within = at ? p->open[at - 1] : DOCUMENT;
    const struct known *k = NULL;
    p->open[at] = what_is(&k, within, name);
    p->key[at] = NULL;
    if (k && k->start)
        k->start(p, atts);
    else if (within == REMARKS)
        start_remark(p, name, atts);
    else if (within == DOCUMENT && !k)
        FAIL(p, PQ_EFORMAT, "<%.40s> instead of <net>: not a model of OpenVINO", name);
    else if (within == LAYER && strstr(name, "body"))
        FAIL(p, PQ_EUNSUPPORTED, "layer %s (%s) has a graph of its own inside, which is not read",
             last_layer(p)->name, last_layer(p)->type);
}

/* ---- ends ---- */

static void end_dim(struct parser *p)
{
    struct pq_ir_value *v = (struct pq_ir_value *)p->values.item + p->values.n - 1;
    uint64_t size = 0;
    p->dim[p->dim_len] = 0;
    const bool any = !strcmp(p->dim, "-1");
    if (!any && (!pq_ir_number(p->dim, &size) || size > INT64_MAX))
        FAIL(p, PQ_EFORMAT, "<dim> \"%s\" is no size", p->dim);
    else if (v->n_dims == PQ_IR_MAX_DIMS)
        FAIL(p, PQ_EUNSUPPORTED, "layer %s: more than %d dimensions are not read",
             last_layer(p)->name, PQ_IR_MAX_DIMS);
    else
        v->dim[v->n_dims++] = any ? -1 : (int64_t)size;
}

/* Outputs move from the parser's list into the arena; inputs get room for what edges say. */
static void end_layer(struct parser *p)
{
    struct pq_ir_layer *l = last_layer(p);
    struct pq_ir_ref *in =
        (struct pq_ir_ref *)pq_arena_alloc(p->a, l->n_in ? l->n_in : 1, sizeof *in);
    struct pq_ir_value *out =
        (struct pq_ir_value *)pq_arena_alloc(p->a, l->n_out ? l->n_out : 1, sizeof *out);
    if (!in || !out) {
        pq_xml_no_memory(&p->xml);
        return;
    }
    if (l->n_out)
        memcpy(out, p->values.item, l->n_out * sizeof *out);
    l->in = in;
    l->out = out;
    last_node(p)->in = in;
}

static void on_end(void *ctx)
{
    struct parser *p = (struct parser *)ctx;
    const enum element was = p->open[p->xml.depth];
    if (was == DIM)
        end_dim(p);
    else if (was == LAYER)
        end_layer(p);
}

static void on_text(void *ctx, const char *s, int n)
{
    struct parser *p = (struct parser *)ctx;
    for (int i = 0; i < n && p->xml.depth && p->open[p->xml.depth - 1] == DIM; i++) {
        if (strchr(" \t\r\n", s[i]))
            continue;
        if (p->dim_len + 1 == sizeof p->dim) {
            FAIL(p, PQ_EFORMAT, "<dim> of more than %zu characters", sizeof p->dim - 1);
            return;
        }
        p->dim[p->dim_len++] = s[i];
    }
}

/* ---- the whole ---- */

/* From the parser's lists, which go, to the arena. */
static int settle(struct parser *p, struct pq_err *e)
{
    struct pq_ir *m = p->m;
    const size_t layers = p->layers.n, info = p->info.n;
    m->layer = (struct pq_ir_layer *)pq_arena_alloc(p->a, layers ? layers : 1, sizeof *m->layer);
    m->info = (struct pq_ir_attr *)pq_arena_alloc(p->a, info ? info : 1, sizeof *m->info);
    if (!m->layer || !m->info)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", p->xml.path);
    if (layers)
        memcpy(m->layer, p->layers.item, layers * sizeof *m->layer);
    if (info)
        memcpy(m->info, p->info.item, info * sizeof *m->info);
    m->n_layers = layers;
    m->n_info = info;
    struct pq_ir_raw raw = {.node = (struct pq_ir_node *)p->nodes.item,
                            .port = (const uint64_t *)p->ports.item,
                            .edge = (const struct pq_ir_edge *)p->edges.item,
                            .n_edges = p->edges.n,
                            .path = p->xml.path};
    return pq_ir_connect(m, &raw, e);
}

int pq_ir_parse(struct pq_ir *m, struct pq_arena *a, const struct pq_ir_text *text,
                struct pq_err *e)
{
    struct parser p = {.m = m, .a = a};
    struct list *const lists[] = {&p.layers, &p.nodes, &p.ports, &p.edges, &p.info, &p.values};
    *m = (struct pq_ir){.name = ""};
    p.xml = (struct pq_xml){
        .path = text->path, .ctx = &p, .start = on_start, .end = on_end, .text = on_text};
    int rc = pq_xml_read(&p.xml, text->data, text->size, e);
    if (rc >= 0)
        rc = settle(&p, e);
    for (size_t i = 0; i < PQ_LEN(lists); i++)
        pq_free(lists[i]->item);
    return rc;
}
