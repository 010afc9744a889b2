/*
 * The command line: verbs and options are tables; help, completion and parsing come from them.
 * Results go to stdout, everything else to stderr. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CLI_CLI_H
#define PQ_CLI_CLI_H

#include "inspect/inspect.h"

enum { PQ_MAX_LIST = 256, PQ_MAX_POS = 64 };

/* The values of an option that may be repeated. */
struct pq_list {
    const char *item[PQ_MAX_LIST];
    size_t n;
};

/* Every option of every verb lands here. */
struct pq_args {
    const char *pos[PQ_MAX_POS];
    int n_pos;
    const char *to, *precision, *scheme, *out, *solver, *embed, *head, *imatrix, *calibration,
        *context, *name, *provider, *sensitivity;
    uint64_t target_size;
    double target_bpw, max_kld;
    const char *device, *cpu;
    const char *text, *ref, *save_logits, *precisions, *temp;
    uint64_t window, windows;
    bool whole, products, every;
    const char *prompt, *file, *chat, *template_name;
    const char *kv, *system, *prompts;
    struct pq_list rule, stop;
    double temperature, top_p, min_p, repeat_penalty;
    uint64_t top_k, seed, max_tokens, context_size, repeats;
    uint64_t split, ram, tokens;
    uint64_t threads;
    int group_size;
    uint64_t steps, batch;
    double rate;
    double ratio;
    bool sym, asym, exact, no_history, csv;
    bool force, dry_run, quiet, json, tensors, help;
};

struct pq_verb {
    const char *name;
    const char *usage; /* after the verb */
    const char *about; /* one line */
    const char *text;  /* the rest of the help: what it does, examples */
    int min_pos, max_pos;
    int (*run)(const struct pq_args *a, struct pq_err *e);
};
extern const struct pq_verb pq_verbs[]; /* ended by name NULL */
const struct pq_verb *pq_verb_find(const char *name);

enum pq_opt_kind {
    PQ_OPT_FLAG,
    PQ_OPT_STR,
    PQ_OPT_LIST,
    PQ_OPT_SIZE,
    PQ_OPT_COUNT,
    PQ_OPT_GROUP,    /* int: above zero, or -1 */
    PQ_OPT_FRACTION, /* double: above zero, at most 1 */
    PQ_OPT_NUMBER    /* double: zero or above */
};

struct pq_opt {
    const char *name; /* without the dashes */
    char letter;      /* short form, or 0 */
    enum pq_opt_kind kind;
    size_t offset;     /* into struct pq_args */
    const char *arg;   /* what the value is called */
    const char *verbs; /* " quantize plan ": the verbs that take it, blank around each */
    const char *help;
};
extern const struct pq_opt pq_opts[]; /* ended by name NULL */
bool pq_opt_of(const struct pq_opt *o, const struct pq_verb *v);

/* argv after the verb. Unknown options suggest the nearest one. */
int pq_args_parse(struct pq_args *a, const struct pq_verb *v, int argc, char **argv,
                  struct pq_err *e);

/* The word of the list that is closest to `word`, NULL when none is near. */
const char *pq_nearest(const char *word, const char *const *list, size_t n);

/* help.c */
void pq_help_overview(void);
void pq_help_verb(const struct pq_verb *v);

/* Members of a result document; 0 and "" when absent. */
static inline double num(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static inline const char *str(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* text.c: numbers and tables for people */
const char *pq_text_bytes(double n, char buf[32]);   /* "4.53 MB" */
const char *pq_text_seconds(double s, char buf[32]); /* "0.8 s", "2 min 10 s" */
/* Every container that can be written, for a run without --to. */
const char *pq_text_targets(char *buf, size_t size);
struct pq_table {
    struct pq_buf text;
    size_t *cell; /* offset of each cell in text */
    size_t n, cols, cap;
    const char *align; /* one 'l' or 'r' per column */
};
void pq_table_begin(struct pq_table *t, const char *align);
__attribute__((format(printf, 2, 3))) void pq_table_cell(struct pq_table *t, const char *fmt, ...);
int pq_table_print(struct pq_table *t, struct pq_err *e); /* to stdout, and frees */

/* progress.c */
struct pq_bar {
    bool terminal, quiet, drawn;
    double last_line;
};
void pq_bar_begin(struct pq_bar *b, bool quiet);
int pq_bar_step(void *bar, const struct pq_progress *p); /* a pq_progress_fn */
void pq_bar_end(struct pq_bar *b);
/* From now on the first Ctrl-C is only noted. */
void pq_interrupt_watch(void);
bool pq_interrupted(void);

/* Prints a document as indented JSON and drops the reference. */
int pq_print_json(json_t *doc, struct pq_err *e);

int pq_cmd_quantize(const struct pq_args *a, struct pq_err *e);
int pq_cmd_chat(const struct pq_args *a, struct pq_err *e);
int pq_cmd_bench(const struct pq_args *a, struct pq_err *e);
int pq_cmd_run(const struct pq_args *a, struct pq_err *e);
int pq_cmd_info(const struct pq_args *a, struct pq_err *e);
int pq_cmd_plan(const struct pq_args *a, struct pq_err *e);
int pq_cmd_schemes(const struct pq_args *a, struct pq_err *e);
int pq_cmd_calibrate(const struct pq_args *a, struct pq_err *e);
int pq_cmd_sensitivity(const struct pq_args *a, struct pq_err *e);
int pq_cmd_refine(const struct pq_args *a, struct pq_err *e);
int pq_cmd_eval(const struct pq_args *a, struct pq_err *e);
int pq_cmd_report(const struct pq_args *a, struct pq_err *e);
int pq_cmd_compare(const struct pq_args *a, struct pq_err *e);
int pq_cmd_tokenize(const struct pq_args *a, struct pq_err *e);
int pq_cmd_help(const struct pq_args *a, struct pq_err *e);
int pq_cmd_completion(const struct pq_args *a, struct pq_err *e);

#endif
