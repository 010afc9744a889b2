/* Help, made from the tables. SPDX-License-Identifier: MIT */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

void pq_help_overview(void)
{
    printf("phiq %s: quantizes Microsoft Phi models for every runtime\n\n"
           "usage: phiq VERB ...\n\n",
           pq_version());
    for (const struct pq_verb *v = pq_verbs; v->name; v++)
        printf("  %-11s %s\n", v->name, v->about);
    printf("\n  phiq quantize ./Phi-3.5-mini-instruct --to gguf,mlx --precision int4 -o out\n"
           "\nphiq help VERB explains a verb, phiq help devices and exit-codes the rest; phiq "
           "schemes lists what can be written.\n");
}

void pq_help_verb(const struct pq_verb *v)
{
    printf("usage: phiq %s %s\n\n%s\n\n%s\n", v->name, v->usage, v->about, v->text);
    for (const struct pq_opt *o = pq_opts; o->name; o++) {
        char left[64];
        if (!pq_opt_of(o, v))
            continue;
        snprintf(left, sizeof left, "%c%c%c --%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? ',' : ' ', o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        printf("  %-30s %s\n", left, o->help);
    }
}

static int help_devices(struct pq_err *e)
{
    char size[32];
    struct pq_table t;
    pq_table_begin(&t, "lrl");
    pq_table_cell(&t, "device");
    pq_table_cell(&t, "usual memory");
    pq_table_cell(&t, "advice");
    for (const struct pq_device *d = pq_devices; d->name; d++) {
        pq_table_cell(&t, "%s", d->name);
        pq_table_cell(&t, "%s", pq_text_bytes(d->usual_ram, size));
        pq_table_cell(&t, "%s", d->advice);
    }
    return pq_table_print(&t, e);
}

static int help_exit_codes(void)
{
    printf("phiq exits with:\n");
    for (int s = PQ_OK; s >= PQ_EMISMATCH; s--)
        printf("  %d  %s\n", -s, pq_status_name(s));
    return PQ_OK;
}

int pq_cmd_help(const struct pq_args *a, struct pq_err *e)
{
    const char *topic = a->n_pos ? a->pos[0] : NULL;
    const struct pq_verb *v = topic ? pq_verb_find(topic) : NULL;
    if (!topic)
        pq_help_overview();
    else if (v)
        pq_help_verb(v);
    else if (!strcmp(topic, "schemes"))
        return pq_cmd_schemes(&(struct pq_args){0}, e);
    else if (!strcmp(topic, "devices"))
        return help_devices(e);
    else if (!strcmp(topic, "exit-codes"))
        return help_exit_codes();
    else if (!strcmp(topic, "sample-text"))
        printf("%s", pq_report_text());
    else
        return pq_fail(e, PQ_EINVAL,
                       "no help on \"%s\": a verb, schemes, devices, sample-text or exit-codes",
                       topic);
    return PQ_OK;
}
