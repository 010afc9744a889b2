/* phiq tokenize. SPDX-License-Identifier: MIT */
#include "base/fs.h"
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TEXT = 1 << 30 };

/* What is to be tokenized: given on the command line, or the content of a file. */
static int read_text(const struct pq_args *a, struct pq_text *what, char **data, struct pq_err *e)
{
    bool given = a->prompt || (a->chat && strchr("[{", a->chat[0]));
    int sources = (a->prompt != NULL) + (a->file != NULL) + (a->chat != NULL);
    if (sources != 1)
        return pq_fail(e, PQ_EINVAL, "one of --prompt, --file and --chat is needed");
    *what = (struct pq_text){.chat = a->chat != NULL, .template_name = a->template_name};
    if (!given) {
        int rc = pq_file_read(a->file ? a->file : a->chat, MAX_TEXT, data, &what->size, e);
        what->text = *data;
        return rc;
    }
    what->text = a->prompt ? a->prompt : a->chat;
    what->size = strlen(what->text);
    return PQ_OK;
}

static int print_tokens(const json_t *doc, struct pq_err *e)
{
    size_t i;
    const json_t *row;
    struct pq_table t;
    pq_table_begin(&t, "rl");
    pq_table_cell(&t, "id");
    pq_table_cell(&t, "piece");
    json_array_foreach(json_object_get(doc, "tokens"), i, row)
    {
        pq_table_cell(&t, "%.0f", num(row, "id"));
        pq_table_cell(&t, "%s", str(row, "piece"));
    }
    return pq_table_print(&t, e);
}

int pq_cmd_tokenize(const struct pq_args *a, struct pq_err *e)
{
    struct pq_text what;
    char *data = NULL;
    json_t *doc = NULL;
    int rc;
    PQ_TRY(read_text(a, &what, &data, e));
    PQ_TRY(pq_inspect_tokenize(&doc, a->pos[0], &what, e));
    if (a->json) {
        rc = pq_print_json(doc, e);
        doc = NULL;
        goto out;
    }
    PQ_TRY(print_tokens(doc, e));
    printf("%.0f tokens\n", num(doc, "count"));
out:
    json_decref(doc);
    pq_free(data);
    return rc;
}
