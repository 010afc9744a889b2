/* phiq info, plan, compare and schemes: documents of the inspect room, rendered.
 * SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>

static void print_value(const char *key, const json_t *v)
{
    size_t i;
    const char *k;
    const json_t *x;
    printf("  %-18s ", key);
    if (json_is_string(v))
        printf("%s", json_string_value(v));
    else if (json_is_boolean(v))
        printf("%s", json_is_true(v) ? "yes" : "no");
    else if (json_is_number(v))
        printf("%.10g", json_number_value(v));
    json_array_foreach(v, i, x)
    {
        printf("%s%.10g", i ? ", " : "", json_number_value(x));
    }
    json_object_foreach((json_t *)(uintptr_t)v, k, x)
    {
        if (json_is_string(x))
            printf("%s %s  ", k, json_string_value(x));
        else
            printf("%s %.10g  ", k, json_number_value(x));
    }
    putchar('\n');
}

static void print_object(const char *title, const json_t *o)
{
    const char *key;
    const json_t *v;
    if (!json_object_size(o))
        return;
    printf("%s\n", title);
    json_object_foreach((json_t *)(uintptr_t)o, key, v)
    {
        print_value(key, v);
    }
}

static int print_tensors(const json_t *rows, struct pq_err *e)
{
    char size[32];
    size_t i;
    const json_t *row;
    struct pq_table t;
    pq_table_begin(&t, "llrrrl");
    const char *head[] = {"tensor", "scheme", "shape", "bytes", "bits/weight", "file"};
    for (i = 0; i < 6; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(rows, i, row)
    {
        pq_table_cell(&t, "%s", str(row, "name"));
        pq_table_cell(&t, "%s", str(row, "scheme"));
        pq_table_cell(&t, "%.0f x %.0f", num(row, "rows"), num(row, "cols"));
        pq_table_cell(&t, "%s", pq_text_bytes(num(row, "bytes"), size));
        pq_table_cell(&t, "%.3f", num(row, "bits_per_weight"));
        pq_table_cell(&t, "%s", str(row, "file"));
    }
    return pq_table_print(&t, e);
}

int pq_cmd_info(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    char size[32];
    int rc = pq_inspect_info(&doc, a->pos[0], a->tensors, e);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    printf("%s  (%s)\n", str(doc, "name"), str(doc, "container"));
    printf("  %-18s %s\n", "weight files", pq_text_bytes(num(doc, "file_bytes"), size));
    printf("  %-18s %.4g billion in %.0f tensors\n", "weights", num(doc, "weights") / 1e9,
           num(doc, "tensor_count"));
    printf("  %-18s %.3f\n", "bits per weight", num(doc, "bits_per_weight"));
    print_value("schemes", json_object_get(doc, "schemes"));
    print_object("network", json_object_get(doc, "network"));
    print_object("tokenizer", json_object_get(doc, "tokenizer"));
    if (a->tensors)
        rc = print_tensors(json_object_get(doc, "tensors"), e);
    json_decref(doc);
    return rc;
}

int pq_cmd_plan(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    char size[32];
    size_t i;
    const json_t *row;
    int rc = pq_inspect_plan(&doc, a->pos[0], a->device, a->ram, a->tokens, e);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    struct pq_table t;
    pq_table_begin(&t, "lllrrrl");
    const char *head[] = {"target",      "precision", "scheme", "on disk",
                          "bits/weight", "in memory", "fits"};
    for (i = 0; i < 7; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(doc, "choices"), i, row)
    {
        const json_t *fits = json_object_get(row, "fits");
        pq_table_cell(&t, "%s", str(row, "target"));
        pq_table_cell(&t, "%s", str(row, "precision"));
        pq_table_cell(&t, "%s", str(row, "scheme"));
        pq_table_cell(&t, "%s", pq_text_bytes(num(row, "bytes"), size));
        pq_table_cell(&t, "%.3f", num(row, "bits_per_weight"));
        pq_table_cell(&t, "%s", pq_text_bytes(num(row, "ram_bytes"), size));
        pq_table_cell(&t, "%s", !fits ? "" : json_is_true(fits) ? "yes" : "no");
    }
    rc = pq_table_print(&t, e);
    printf("in memory: with the key/value cache of %.0f tokens (%s)\n", num(doc, "context"),
           pq_text_bytes(num(doc, "cache_bytes"), size));
    if (json_object_get(doc, "advice"))
        printf("%s: %s\n", str(doc, "device"), str(doc, "advice"));
    json_decref(doc);
    return rc;
}

int pq_cmd_compare(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    size_t i;
    const json_t *row;
    int rc = pq_inspect_compare(&doc, a->pos[0], a->pos[1], (int)a->threads, e);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    enum { WORST = 12 };
    struct pq_table t;
    pq_table_begin(&t, "llrr");
    pq_table_cell(&t, "worst tensors");
    pq_table_cell(&t, "schemes");
    pq_table_cell(&t, "relative error");
    pq_table_cell(&t, "largest");
    json_array_foreach(json_object_get(doc, "tensors"), i, row)
    {
        if (i == WORST)
            break;
        pq_table_cell(&t, "%s", str(row, "name"));
        pq_table_cell(&t, "%s / %s", str(row, "a"), str(row, "b"));
        pq_table_cell(&t, "%.4f %%", 100 * num(row, "rel_rms_error"));
        pq_table_cell(&t, "%.3g", num(row, "max_abs_error"));
    }
    rc = pq_table_print(&t, e);
    printf("all %.0f tensors: relative RMS error %.4f %%%s\n", num(doc, "tensor_count"),
           100 * num(doc, "rel_rms_error"),
           json_is_true(json_object_get(doc, "equal")) ? " (equal)" : "");
    json_decref(doc);
    return rc;
}

static void print_recipes(const char *target, const json_t *t)
{
    size_t i;
    const char *precision;
    const json_t *v;
    printf("%s: %s\n  usual:", target, str(t, "about"));
    json_object_foreach((json_t *)(uintptr_t)json_object_get(t, "usual"), precision, v)
    {
        printf("  %s = %s", precision, json_string_value(v));
    }
    putchar('\n');
    json_array_foreach(json_object_get(t, "recipes"), i, v)
    {
        printf("  %-14s %s\n", str(v, "name"), str(v, "about"));
    }
    putchar('\n');
}

static void held_by(struct pq_table *t, const json_t *list)
{
    char text[64] = "";
    size_t i, n = 0;
    const json_t *v;
    json_array_foreach(list, i, v)
    {
        if (n < sizeof text)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n ? "," : "",
                                  json_string_value(v));
    }
    pq_table_cell(t, "%s", text);
}

int pq_cmd_schemes(const struct pq_args *a, struct pq_err *e)
{
    json_t *doc;
    size_t i;
    const char *name;
    const json_t *v;
    int rc = pq_inspect_schemes(&doc, e);
    if (rc < 0)
        return rc;
    if (a->json)
        return pq_print_json(doc, e);
    json_object_foreach(json_object_get(doc, "targets"), name, v)
    {
        print_recipes(name, v);
    }
    printf("Schemes of single tensors, for --tensor, --embed and --head:\n\n");
    struct pq_table t;
    pq_table_begin(&t, "lrll");
    const char *head[] = {"scheme", "bits/weight", "held by", "what it is"};
    for (i = 0; i < 4; i++)
        pq_table_cell(&t, "%s", head[i]);
    json_array_foreach(json_object_get(doc, "schemes"), i, v)
    {
        pq_table_cell(&t, "%s", str(v, "name"));
        pq_table_cell(&t, "%.5g", num(v, "bits_per_weight"));
        held_by(&t, json_object_get(v, "held_by"));
        pq_table_cell(&t, "%s%s", str(v, "about"),
                      json_is_true(json_object_get(v, "writable")) ? "" : " (read only)");
    }
    rc = pq_table_print(&t, e);
    json_decref(doc);
    return rc;
}
