/* Reading what was measured. SPDX-License-Identifier: MIT */
#include "eval/sensitivity.h"

#include <string.h>

static const json_t *row_of(const json_t *doc, const char *tensor)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(doc, "tensors"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "tensor"));
        if (name && !strcmp(name, tensor))
            return row;
    }
    return NULL;
}

double pq_sensitivity_of(const json_t *doc, const struct pq_tensor *t, const struct pq_scheme *s)
{
    const json_t *schemes = json_object_get(row_of(doc, t->name), "schemes");
    const json_t *kld = json_object_get(json_object_get(schemes, s->name), "kld");
    return json_is_number(kld) ? json_number_value(kld) : -1;
}

static int check_tensor(const json_t *doc, const char *path, const struct pq_tensor *t,
                        struct pq_err *e)
{
    const json_t *row = row_of(doc, t->name), *value;
    const char *scheme;
    uint64_t rows, cols;
    int rc = PQ_OK;
    if (!row)
        return pq_fail(e, PQ_EINVAL, "%s: nothing about %s: it was made from another model", path,
                       t->name);
    PQ_TRY(pq_json_u64(row, "rows", &rows, path, e));
    PQ_TRY(pq_json_u64(row, "cols", &cols, path, e));
    if (rows != t->rows || cols != t->cols)
        return pq_fail(e, PQ_EINVAL, "%s: %s is %llu x %llu, in this model %llu x %llu", path,
                       t->name, (unsigned long long)rows, (unsigned long long)cols,
                       (unsigned long long)t->rows, (unsigned long long)t->cols);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(row, "schemes"), scheme, value)
    {
        const json_t *kld = json_object_get(value, "kld");
        if (!json_is_number(kld) || !(json_number_value(kld) >= 0))
            PQ_TRY(pq_fail(e, PQ_EFORMAT, "%s: %s in %s: kld is no number from 0 on", path, t->name,
                           scheme));
    }
out:
    return rc;
}

static int check(const json_t *doc, const char *path, const struct pq_network *net,
                 struct pq_err *e)
{
    int rc = PQ_OK;
    const char *kind = json_string_value(json_object_get(doc, "kind"));
    if (!kind || strcmp(kind, "sensitivity") || !json_is_string(json_object_get(doc, "text")))
        return pq_fail(e, PQ_EFORMAT, "%s: not a file of phiq sensitivity", path);
    for (size_t i = 0; rc >= 0 && i < net->n_tensors; i++)
        if (pq_role_is_matrix(net->tensor[i].role))
            rc = check_tensor(doc, path, &net->tensor[i], e);
    return rc;
}

int pq_sensitivity_read(json_t **out, const char *path, const struct pq_network *net,
                        struct pq_err *e)
{
    int rc = pq_json_load(out, path, e);
    if (rc >= 0)
        rc = check(*out, path, net, e);
    if (rc >= 0)
        return rc;
    json_decref(*out);
    *out = NULL;
    return rc;
}
