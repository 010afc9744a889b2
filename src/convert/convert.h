/*
 * From an opened model to finished outputs: request -> choose -> plan -> rows -> place -> verify ->
 * rename. The only room that knows sources, schemes and containers at once.
 * SPDX-License-Identifier: MIT
 */
#ifndef PQ_CONVERT_CONVERT_H
#define PQ_CONVERT_CONVERT_H

#include "container/container.h"

struct pq_row_error {
    double err, ref; /* sums of squared errors and of squared weights */
};
/* What is remembered of a unit of an item, to be found again when it is read back. */
struct pq_written {
    uint64_t sum;              /* checksums of all parts, added */
    uint64_t rows;             /* checksums of the sampled rows, decoded, added */
    struct pq_row_error error; /* of those rows */
};

/* The smallest or the largest that a mix to a target can be. */
struct pq_mix_end {
    uint64_t bytes; /* of all files */
    double bits;    /* per weight, of tensors */
    double kld;     /* expected */
};

/* One output of a run. */
struct pq_target {
    const struct pq_container *container;
    struct pq_request request;
    const struct pq_scheme **choice; /* [n_tensors] */
    struct pq_plan plan;
    struct {
        bool chosen; /* schemes were chosen for a target */
        double kld;  /* expected of that choice */
        struct pq_mix_end end[2];
    } mix;
    const char *final_dir;       /* OUT/gguf */
    const char *part_dir;        /* where files grow until they verify */
    const char *path;            /* what the user opens: the first file, or the folder */
    bool part_made;              /* part_dir exists and is ours to remove */
    struct pq_out *out;          /* [plan.n_files], fd -1 when closed */
    struct pq_written **written; /* [plan.n_items][units of the tensor] */
};

/* A piece of work: rows of one network tensor, encoded for every target that stores it. */
struct pq_unit {
    uint32_t tensor, index; /* index among the units of its tensor */
    uint64_t row0, rows;
};
struct pq_units {
    struct pq_unit *unit;
    size_t n;
    uint32_t *of_tensor;  /* [n_tensors] number of units */
    uint64_t max_weights; /* in one unit */
    uint64_t max_cols;
};
/* A run: one model, one or more targets. */
struct pq_run {
    struct pq_arena arena;
    struct pq_model *model;
    const struct pq_quantize_options *opt;
    const struct pq_kern *kern;
    enum pq_solver solver;
    int threads;
    struct pq_imatrix imatrix;
    json_t *calibration; /* what was measured for this run; NULL: nothing */
    json_t *sensitivity; /* what schemes cost (eval/sensitivity.h); NULL: no matter */
    struct pq_target *target;
    size_t n_targets;
    struct pq_units units;
    double seconds_measure, seconds_plan, seconds_write, seconds_verify;
    bool written;
    const char *stage; /* of the progress reports */
    double stage_began, last_report;
};

/* Parses targets, schemes and rules of the options, calibrates where that is asked for and the run
 * is not dry, and plans every target. */
int pq_run_open(struct pq_run *r, const struct pq_quantize_options *opt, bool dry_run,
                struct pq_err *e) PQ_MUST_CHECK;
/* Writes, verifies and renames into place. On failure nothing of this run is left behind. */
int pq_run_write(struct pq_run *r, struct pq_err *e) PQ_MUST_CHECK;
/* The result (or, before pq_run_write, the plan) as a document; see docs/json.md. */
json_t *pq_run_report(const struct pq_run *r, bool with_tensors);
void pq_run_close(struct pq_run *r);

/* Measures sensitivity for the targets of its options and writes the file. */
int pq_sensitivity_model(json_t **out, const struct pq_sensitivity_options *o,
                         struct pq_err *e) PQ_MUST_CHECK;

/* ---- within the room ---- */

/* calibration.c: measures the inputs of opt->calibration's text, through a file beside the first
 * target that is gone when this returns. */
int pq_run_calibrate(struct pq_run *r, struct pq_err *e) PQ_MUST_CHECK;
/* How many windows calibration takes where nobody says: products of n columns are known well from a
 * few times n tokens, more time buys little more. */
uint64_t pq_calibration_windows(const struct pq_network *net);
/* How the codes of an item are chosen. Floats have none: PQ_SOLVER_RTN. */
enum pq_solver pq_run_solver_of(const struct pq_run *r, const struct pq_item *it);

/* request.c: targets, recipes, rules from the options. */
int pq_run_targets(struct pq_run *r, struct pq_err *e) PQ_MUST_CHECK;

/* mix.c: are schemes to be chosen for a target? Then pq_run_mix chooses and plans; a choice of the
 * usual recipe is there. */
bool pq_run_wants_mix(const struct pq_quantize_options *o);
int pq_run_mix(struct pq_run *r, struct pq_target *t, struct pq_err *e) PQ_MUST_CHECK;

/* sensitivity.c: what schemes cost, read from the file of the options or measured on their text. */
int pq_run_sensitivity(struct pq_run *r, struct pq_err *e) PQ_MUST_CHECK;

int pq_units_make(struct pq_units *u, struct pq_run *r, struct pq_err *e) PQ_MUST_CHECK;
/* Sums of the squared error and weights of an item, units added in order. */
struct pq_row_error pq_item_error(const struct pq_target *t, size_t item, const struct pq_units *u);
/* Adds the squared error of one decoded row against x [cols]. */
void pq_row_error_add(struct pq_row_error *sum, const float *x, const float *back, uint64_t cols);
/* A checksum of a decoded row's numbers; those of different rows may be added. */
uint64_t pq_row_hash(float *back, uint64_t cols, uint64_t row);
/* Rows whose error is measured and which verification decodes again: every stride-th. */
uint64_t pq_run_stride(const struct pq_run *r);

/* rows.c: encodes all units with all threads into the open files. */
int pq_rows_write(struct pq_run *r, const struct pq_units *u, struct pq_err *e) PQ_MUST_CHECK;

/* place.c: folders and files. What is in the way is found before any work. */
int pq_place_check(struct pq_run *r, struct pq_target *t, struct pq_err *e) PQ_MUST_CHECK;
int pq_place_begin(struct pq_run *r, struct pq_target *t, struct pq_err *e) PQ_MUST_CHECK;
int pq_place_sync(struct pq_target *t, struct pq_err *e) PQ_MUST_CHECK;
int pq_place_commit(struct pq_run *r, struct pq_target *t, struct pq_err *e) PQ_MUST_CHECK;
void pq_place_abandon(struct pq_target *t);

/* verify.c: the files read back through their own reader equal what was encoded. */
int pq_verify(struct pq_run *r, struct pq_target *t, const struct pq_units *u,
              struct pq_err *e) PQ_MUST_CHECK;

/* Reports progress if due; PQ_ECANCELLED when the caller wants to stop. */
int pq_run_progress(struct pq_run *r, const char *stage, const char *tensor, uint64_t done,
                    uint64_t total, struct pq_err *e) PQ_MUST_CHECK;

#endif
