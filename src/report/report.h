/*
 * A report that people look at: what every precision and container costs in bytes and in loss,
 * measured on written files, as one document (docs/json.md) and as one HTML page around it.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_REPORT_REPORT_H
#define PQ_REPORT_REPORT_H

#include "eval/eval.h"
#include "inspect/inspect.h"

/* The document, and the page where s->out says. Outputs are made one after the other in a temporary
 * folder and removed as soon as they are measured. */
int pq_report_make(json_t **out, const struct pq_report_options *s, bool dry_run,
                   struct pq_err *e) PQ_MUST_CHECK;

/* What predictions kept in float32 cannot tell from nothing, in nats. */
#define PQ_KLD_FLOOR 1e-6

/* ---- page.c ---- */

/* The page around a document. What a page makes of it comes from text nodes only, and neither the
 * document nor the page's own policy lets markup or scripts in. */
int pq_report_page(struct pq_buf *html, const json_t *doc, struct pq_err *e) PQ_MUST_CHECK;

/* Made by embed.cmake from page.html, page.css and the scripts: what is before and after the
 * document; and sample.txt. */
extern const char pq_page_head[], pq_page_tail[], pq_sample_text[];
extern const size_t pq_page_head_size, pq_page_tail_size, pq_sample_text_size;

/* ---- choices.c: what is measured ---- */

struct pq_choice {
    const struct pq_container *container; /* NULL for a given output until it was opened */
    const struct pq_recipe *recipe;       /* NULL for a given output */
    const char *precision;                /* "int4" where it is that precision's usual; NULL */
    const char *path;                     /* of a given output; NULL = to be written */
    uint64_t bytes;                       /* of all its files, as planned */
};
/* One beside the precisions' usual recipes that people ask about. */
struct pq_notable {
    const char *container, *recipe;
};
extern const struct pq_notable pq_notables[]; /* ended by container NULL */
/* All that the options ask for, into an array of the arena. */
int pq_choices_list(struct pq_choice **list, size_t *n, struct pq_arena *a,
                    const struct pq_report_options *s, struct pq_err *e) PQ_MUST_CHECK;

/* ---- sample.c: what quantization does to the numbers of one tensor ---- */

enum {
    PQ_SAMPLE_BINS = 121,       /* of the histogram of weights: odd, so that one is around zero */
    PQ_SAMPLE_DECADES = 8,      /* of the histogram of errors, 8 bins each */
    PQ_SAMPLE_GROUP = 64,       /* most weights shown one by one */
    PQ_SAMPLE_WEIGHTS = 1 << 18 /* about so many are looked at */
};
/* Rows of one matrix from the middle of the network, spread evenly. */
struct pq_sample {
    const struct pq_tensor *tensor; /* of the source */
    uint64_t rows, stride;
    float *x;          /* [rows, cols] of the source */
    double rms, limit; /* the histogram goes from -limit to limit */
};
int pq_sample_open(struct pq_sample *s, const struct pq_network *net,
                   struct pq_err *e) PQ_MUST_CHECK;
json_t *pq_sample_source(const struct pq_sample *s); /* NULL when memory is out */
/* The same rows of another model of the network. */
int pq_sample_of(json_t **out, const struct pq_sample *s, const struct pq_network *net,
                 struct pq_err *e) PQ_MUST_CHECK;
void pq_sample_close(struct pq_sample *s);

/* ---- tokens.c: where in a text predictions differ ---- */

enum { PQ_TOKENS_SHOWN = 160, PQ_TOKENS_TOP = 5 };

struct pq_top {
    uint32_t id[PQ_TOKENS_TOP];
    float p[PQ_TOKENS_TOP];
};
/* What a watched evaluation leaves of the first scored positions. */
struct pq_token_log {
    struct pq_top model[PQ_TOKENS_SHOWN], reference[PQ_TOKENS_SHOWN];
    double kld[PQ_TOKENS_SHOWN];
    size_t n;
};
void pq_tokens_watch(void *ctx, const struct pq_scored *s); /* ctx: a pq_token_log */
json_t *pq_tokens_of(const struct pq_token_log *log);       /* {kld, top} of the model */
/* The text around the positions, what the reference expected, and the spelling of every token that
 * is named anywhere in `doc` (seen [vocab] says which). */
int pq_tokens_text(json_t **out, const struct pq_windows *w, uint32_t first,
                   const struct pq_token_log *log, const struct pq_tokenizer *t,
                   struct pq_err *e) PQ_MUST_CHECK;
/* {id: text} of every token that a list of logs named. */
int pq_tokens_spelled(json_t **out, const bool *seen, size_t vocab, const struct pq_tokenizer *t,
                      struct pq_err *e) PQ_MUST_CHECK;

/* ---- measure.c: one row of the report ---- */

struct pq_report_run {
    struct pq_arena arena;
    const struct pq_report_options *set;
    struct pq_model *model;           /* the checkpoint */
    const char *temp, *made, *logits; /* temporary: the folder, and in it an output, predictions */
    const char *stats;                /* in it too: what calibration measured; NULL: nothing */
    const char *text, *text_name;     /* where it is read, and what it is called */
    bool temp_made;
    struct pq_windows windows;
    uint32_t first; /* the first position of a window whose prediction counts */
    struct pq_choice *choice;
    size_t n_choices, at; /* the one that is being worked on */
    struct pq_sample sample;
    struct pq_token_log *log;
    bool *seen; /* [vocab] tokens that the document names */
    double began;
};
/* How a choice is quantized, into r->made. */
struct pq_quantize_options pq_choice_options(const struct pq_report_run *r,
                                             const struct pq_choice *c);
/* Writes (unless given), evaluates, compares and samples one choice. */
int pq_measure(json_t **row, struct pq_report_run *r, struct pq_choice *c,
               struct pq_err *e) PQ_MUST_CHECK;
/* Keeps the reference's predictions in r->logits; *perplexity gets its evaluation. */
int pq_measure_reference(json_t **doc, struct pq_report_run *r, struct pq_err *e) PQ_MUST_CHECK;
/* Calibrates once on the options' text, into r->stats. */
int pq_measure_inputs(struct pq_report_run *r, struct pq_err *e) PQ_MUST_CHECK;
/* Sets `pareto` of every row that no other one beats in bytes and divergence. */
void pq_rows_pareto(json_t *rows);

/* ---- cost.c: what it will take ---- */

/* Bytes that the reference's predictions for so many windows take. */
uint64_t pq_logits_room(const struct pq_report_run *r, uint64_t windows);
/* Plans every choice. What a container refuses goes from r->choice to left_out; a given output must
 * be of the same network. */
int pq_report_plan(struct pq_report_run *r, json_t *left_out, struct pq_err *e) PQ_MUST_CHECK;
json_t *pq_report_cost(const struct pq_report_run *r);
/* Tells the cost before the work, and the time once the reference took some. */
int pq_announce(const struct pq_report_run *r, const json_t *plan, struct pq_err *e) PQ_MUST_CHECK;
int pq_announce_time(const struct pq_report_run *r, const json_t *reference,
                     struct pq_err *e) PQ_MUST_CHECK;
/* A failure that concerns one choice and is no reason to stop; and its note in the report. */
bool pq_only_this(int rc);
void pq_leave_out(json_t *list, const struct pq_choice *c, const struct pq_err *e);

/* ---- commands.c: lines for a shell ---- */

/* Appends a word, quoted where a shell would see more than one in it. */
void pq_word(struct pq_buf *b, const char *word);
/* What makes and measures this choice again; `path` is what was opened. */
json_t *pq_commands_of(const struct pq_report_run *r, const struct pq_choice *c, const char *path);
/* What makes the report again. */
json_t *pq_commands_report(const struct pq_report_run *r);

#endif
