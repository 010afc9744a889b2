/*
 * phiq.h - the public face of libphiq.
 *
 * Every call that can fail returns PQ_OK or a negative enum pq_status and, where it takes a
 * struct pq_err, leaves the reason there in words. Handles are opaque; what a call hands out is
 * borrowed from the handle unless its comment says that the caller frees it.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef PHIQ_H
#define PHIQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PQ_API __attribute__((visibility("default")))
#define PQ_MUST_CHECK __attribute__((warn_unused_result))
#else
#define PQ_API
#define PQ_MUST_CHECK
#endif

/* The process exit code of the command line is the positive value (see `phiq help exit-codes`). */
enum pq_status {
    PQ_OK = 0,
    PQ_ENOMEM = -1,       /* memory could not be had */
    PQ_EIO = -2,          /* reading or writing failed: missing file, full disk, permission */
    PQ_EFORMAT = -3,      /* a file is not what it says it is */
    PQ_EUNSUPPORTED = -4, /* understood, and not done by this version */
    PQ_EINVAL = -5,       /* the request itself makes no sense */
    PQ_ECANCELLED = -6,   /* the progress callback asked to stop */
    PQ_EEXIST = -7,       /* the output exists and `force` is off */
    PQ_EMISMATCH = -8     /* what was written does not read back as planned */
};

/* Filled by the deepest call that failed: which file, which tensor, what was found, what was
 * expected. Zero it before use; the first message is kept. */
struct pq_err {
    int code;
    char msg[508];
};

PQ_API const char *pq_version(void);
PQ_API const char *pq_status_name(int status);

/* ---- quantize ------------------------------------------------------------------------------ */

struct pq_progress {
    const char *stage;    /* "plan", "write", "verify" */
    const char *tensor;   /* being worked on, or "" */
    uint64_t done, total; /* bytes of the source */
    double seconds;       /* since the stage began */
};
/* Called from the calling thread about ten times a second; a non-zero return stops the run, which
 * then leaves nothing behind and returns PQ_ECANCELLED. */
typedef int pq_progress_fn(void *ctx, const struct pq_progress *p);

/* Strings may be NULL for the default. Set with pq_quantize_options_default first. */
struct pq_quantize_options {
    size_t struct_size;       /* sizeof of this struct, set by the default call */
    const char *input;        /* folder or file of the source model */
    const char *out_dir;      /* OUT: receives OUT/gguf/..., OUT/mlx/... */
    const char *targets;      /* "gguf,mlx" */
    const char *precision;    /* "int4" (default), "int8", "fp16", "bf16", "fp32" */
    const char *scheme;       /* "q4_k_m", or per target "gguf:q4_k_m,mlx:affine4g64" */
    const char *solver;       /* "rtn", "search", or "gptq": needs products of inputs; default: gptq
                                 where there are any, else search */
    int group_size;           /* weights per scale; -1 = a whole row, 0 = the precision's usual */
    int symmetry;             /* +1 symmetric, -1 with zero points, 0 = the precision's usual */
    double ratio;             /* share of 4-bit layers' weights that stay 4-bit; 0 = all of them */
    const char *embed, *head; /* scheme of the embedding / output head, instead of the recipe's */
    const char *const *rule;  /* "PATTERN=SCHEME" or "TARGET:PATTERN=SCHEME", first match wins */
    size_t n_rules;
    const char *imatrix;     /* what pq_calibrate or llama-imatrix wrote (GGUF form) */
    const char *calibration; /* instead: a text to calibrate on first; nothing of that is kept */
    uint64_t calibration_windows; /* of 512 tokens or the model's limit; 0 = as many as it takes */
    /* One of these three, or none: schemes are chosen for each matrix, so that the least is lost
     * within so many bytes of all files, or bits per weight of all tensors; or so that the fewest
     * bytes are taken within this KL divergence (nats, expected). What schemes cost is measured on
     * the calibration text (an imatrix may come with it then), or comes from a file. */
    uint64_t target_bytes;
    double target_bpw, max_kld;
    const char *sensitivity;  /* file of pq_sensitivity */
    const char *context;      /* LongRoPE: "short" or "long"; default: long in MLX, else both */
    const char *provider;     /* ONNX: "cpu" (default), "cuda", "dml", "webgpu" */
    const char *name;         /* model name in file names and metadata */
    uint64_t split_max_bytes; /* GGUF shards no larger than this; 0 = one file */
    int threads;              /* 0 = all CPUs */
    const char *cpu_level;    /* cap of the kernels: "c", "avx2", ... */
    int force;                /* replace existing outputs */
    pq_progress_fn *progress;
    void *progress_ctx;
};
PQ_API void pq_quantize_options_default(struct pq_quantize_options *o);

/* Writes every target, verified and renamed into place, or nothing. With dry_run it only plans.
 * *report receives a JSON document (docs/json.md) that the caller frees with pq_string_free. */
PQ_API PQ_MUST_CHECK int pq_quantize(const struct pq_quantize_options *o, int dry_run,
                                     char **report, struct pq_err *e);

/* ---- look at models ------------------------------------------------------------------------ */

/* What a file or folder holds, as JSON; with_tensors adds a row per tensor. */
PQ_API PQ_MUST_CHECK int pq_info(const char *path, int with_tensors, char **json, struct pq_err *e);

/* Bytes on disk and in memory of each precision, and advice for a device ("phone", "iot", "aipc",
 * "mac", "cuda", or NULL) with `ram` bytes (0 = the device's usual) for a context of n tokens
 * (0 = 4096 or the model's limit), as JSON. */
PQ_API PQ_MUST_CHECK int pq_plan_device(const char *path, const char *device, uint64_t ram,
                                        uint64_t context, char **json, struct pq_err *e);

/* Relative RMS error of each tensor of b against a, worst first, as JSON. */
PQ_API PQ_MUST_CHECK int pq_compare(const char *a, const char *b, int threads, char **json,
                                    struct pq_err *e);

/* Strings may be NULL where said. Set with pq_eval_options_default first. */
struct pq_eval_options {
    size_t struct_size;      /* sizeof of this struct, set by the default call */
    const char *model;       /* file or folder that is measured */
    const char *text;        /* file of text */
    const char *reference;   /* a model, or a file that save_logits made; NULL = none */
    const char *save_logits; /* keeps the predictions of the reference, or else of the model, here
                                (float32 log-probabilities of every scored token); NULL = nowhere */
    int window;              /* tokens read at once from nothing; 0 = 512 or the model's limit */
    int whole;               /* score a window's every token, not only its second half */
    uint64_t max_windows;    /* 0 = the whole text */
    int threads;             /* 0 = all CPUs */
    const char *cpu_level;   /* cap of the kernels: "c", "avx2", ... */
    pq_progress_fn *progress;
    void *progress_ctx;
};
PQ_API void pq_eval_options_default(struct pq_eval_options *o);

/* Perplexity of a model on a text by llama-perplexity's protocol and, with a reference, KL
 * divergence from it, top-1 agreement and flips, as JSON. */
PQ_API PQ_MUST_CHECK int pq_eval(const struct pq_eval_options *o, char **json, struct pq_err *e);

/* Strings may be NULL where said. Set with pq_calibrate_options_default first. */
struct pq_calibrate_options {
    size_t struct_size;    /* sizeof of this struct, set by the default call */
    const char *model;     /* file or folder, best the unquantized one */
    const char *text;      /* file of text like the one that the model will see */
    const char *out;       /* file that is written: llama.cpp's importance matrix in GGUF form */
    int products;          /* also what solver "gptq" needs: N^2 / 2 floats for N columns */
    int window;            /* tokens read at once from nothing; 0 = 512 or the model's limit */
    uint64_t max_windows;  /* 0 = the whole text */
    int threads;           /* 0 = all CPUs; the file does not depend on it */
    const char *cpu_level; /* cap of the kernels: "c", "avx2", ... */
    pq_progress_fn *progress;
    void *progress_ctx;
};
PQ_API void pq_calibrate_options_default(struct pq_calibrate_options *o);

/* Measures what goes into the model's matrices on a text, for pq_quantize's imatrix (and
 * llama-quantize's); *json receives what was done. */
PQ_API PQ_MUST_CHECK int pq_calibrate(const struct pq_calibrate_options *o, char **json,
                                      struct pq_err *e);

/* Strings may be NULL where said. Set with pq_report_options_default first. */
struct pq_report_options {
    size_t struct_size;           /* sizeof of this struct, set by the default call */
    const char *model;            /* the checkpoint, with which everything is compared */
    const char *const *output;    /* models that are measured; none: `model` is quantized to a */
    size_t n_outputs;             /* temporary folder, one choice after the other */
    const char *out;              /* HTML file that is written; NULL = only the document */
    const char *text;             /* file of text; NULL = a short one of the library's own */
    const char *targets;          /* "gguf,mlx"; NULL = all */
    const char *precisions;       /* "int8,int4,q3_k_m,mlx:mxfp4"; NULL = all and notable schemes */
    const char *solver, *imatrix; /* as in pq_quantize_options; also ... */
    const char *calibration;      /* ... a text, calibrated on once for all choices */
    const char *temp_dir;         /* gets a hidden folder; NULL = where `out` is, or "." */
    int window;                   /* tokens read at once from nothing; 0 = the text's usual */
    uint64_t max_windows;         /* 0 = at most 32, and 4 GB of kept predictions */
    int threads;                  /* 0 = all CPUs */
    const char *cpu_level;        /* cap of the kernels: "c", "avx2", ... */
    pq_progress_fn *progress;     /* stage "plan" says what it will take, then stage "report" */
    void *progress_ctx;
};
PQ_API void pq_report_options_default(struct pq_report_options *o);

/* Size against loss for every precision and container, measured on written files, as one HTML page
 * that needs nothing else; *json receives its data (docs/json.md). With dry_run only what it would
 * take. Temporary files are gone afterwards, whatever happened. */
PQ_API PQ_MUST_CHECK int pq_report(const struct pq_report_options *o, int dry_run, char **json,
                                   struct pq_err *e);
/* The text that a report without one is measured on. */
PQ_API const char *pq_report_text(void);

/* Strings may be NULL where said. Set with pq_sensitivity_options_default first. */
struct pq_sensitivity_options {
    size_t struct_size;    /* sizeof of this struct, set by the default call */
    const char *model;     /* file or folder, best the unquantized one */
    const char *targets;   /* "gguf,mlx": whose schemes are tried */
    const char *text;      /* file of text like the one that the model will see */
    const char *out;       /* file that is written (JSON) */
    const char *imatrix;   /* what pq_calibrate or llama-imatrix wrote; NULL = none */
    const char *solver;    /* as for pq_quantize */
    int every;             /* every scheme goes through the network, not one for each matrix */
    int window;            /* tokens read at once from nothing; 0 = 512 or the model's limit */
    uint64_t max_windows;  /* spread over the text; 0 = 4 */
    int threads;           /* 0 = all CPUs; the file does not depend on it */
    const char *cpu_level; /* cap of the kernels: "c", "avx2", ... */
    pq_progress_fn *progress;
    void *progress_ctx;
};
PQ_API void pq_sensitivity_options_default(struct pq_sensitivity_options *o);

/* Measures what each matrix costs in each scheme (KL divergence of the predictions when only it is
 * quantized), for pq_quantize's targets; *json receives what the file holds, and more. */
PQ_API PQ_MUST_CHECK int pq_sensitivity(const struct pq_sensitivity_options *o, char **json,
                                        struct pq_err *e);

/* Strings may be NULL where said. Set with pq_refine_options_default first. */
struct pq_refine_options {
    size_t struct_size;    /* sizeof of this struct, set by the default call */
    const char *model;     /* the quantized model: file or folder */
    const char *reference; /* the checkpoint that it was made from */
    const char *text;      /* file of text to learn from */
    const char *out;       /* file or folder that is written, of the same kind as the model */
    int steps;             /* 0 = usual */
    int batch;             /* windows of a step; 0 = usual */
    int window;            /* tokens of a window; 0 = 512, or the model's limit */
    double rate;           /* of learning: most that a code moves in a step, in codes; 0 = usual */
    uint64_t max_windows;  /* of the text; 0 = all */
    int threads;           /* 0 = all CPUs; the result does not depend on it */
    const char *cpu_level; /* cap of the kernels: "c", "avx2", ... */
    int force;             /* replace an existing output */
    pq_progress_fn *progress;
    void *progress_ctx;
};
PQ_API void pq_refine_options_default(struct pq_refine_options *o);

/* Writes the model again with codes, scales, norms and biases that predict more like the reference:
 * same schemes, same bytes, every tensor in its place. Keeps some windows of the text apart and
 * writes nothing (PQ_EINVAL) when the model has not become better on them; *json receives what was
 * done. Memory: about 30 bytes for each weight. */
PQ_API PQ_MUST_CHECK int pq_refine(const struct pq_refine_options *o, char **json,
                                   struct pq_err *e);

/* Tokens of a text, or, with `chat`, of a conversation (JSON: a list of messages, or an object with
 * "messages" and whatever else the template uses) through the model's chat template or the one of
 * this name; NULL: the model's own. */
PQ_API PQ_MUST_CHECK int pq_tokenize(const char *path, const char *text, int chat,
                                     const char *template_name, char **json, struct pq_err *e);

PQ_API void pq_string_free(char *s);

/* ---- weights of an opened model -------------------------------------------------------------- */

struct pq_model;
struct pq_tensor_info {
    const char *name;   /* as in the Hugging Face checkpoint; lives as long as the model */
    const char *role;   /* "attn_qkv", "ffn_down", ... */
    const char *scheme; /* "bf16", "q4_k", ... of the first stored piece */
    int layer;          /* -1 outside the layers */
    uint64_t rows, cols;
};
PQ_API PQ_MUST_CHECK int pq_model_open(struct pq_model **out, const char *path, struct pq_err *e);
PQ_API void pq_model_close(struct pq_model *m); /* NULL is fine */
PQ_API size_t pq_model_n_tensors(const struct pq_model *m);
PQ_API PQ_MUST_CHECK int pq_model_tensor(const struct pq_model *m, size_t i,
                                         struct pq_tensor_info *info);
/* Rows [row0, row0 + n) of tensor i as float32 into out [n, cols]. */
PQ_API PQ_MUST_CHECK int pq_model_rows(const struct pq_model *m, size_t i, uint64_t row0,
                                       uint64_t n, float *out, struct pq_err *e);

/* ---- text from an opened model --------------------------------------------------------------- */

/* A model that reads and goes on: tokenizer, keys and values of what it has read, sampler. One
 * thread at a time; several generators may share a model. */
struct pq_generator;

/* Strings may be NULL where said. Set with pq_generator_options_default first. */
struct pq_generator_options {
    size_t struct_size;        /* sizeof of this struct, set by the default call */
    uint64_t context;          /* most tokens; 0 = what the model was made for */
    int threads;               /* 0 = all CPUs; the text does not depend on it */
    const char *cpu_level;     /* cap of the kernels: "c", "avx2", ...; NULL = none */
    const char *kv;            /* keys and values: "f16", "f32", "int8"; NULL = "f16" */
    int exact;                 /* activations in single precision, not rounded to 8 bits: slower */
    const char *template_name; /* chat template by name; NULL = the model's own */
    double temperature;        /* 0 = always the most likely token */
    uint64_t top_k;            /* 0 = all */
    double top_p, min_p;       /* 0 = all */
    double repeat_penalty;     /* 0 and 1 = none */
    uint64_t seed;             /* the same seed, the same text */
    /* Called while a prompt is read, with tokens done and in all; a non-zero return stops, and the
     * call that reads returns PQ_ECANCELLED. May be NULL. */
    int (*on_read)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
};
PQ_API void pq_generator_options_default(struct pq_generator_options *o);
/* Borrows the model, which must outlive it. */
PQ_API PQ_MUST_CHECK int pq_generator_new(struct pq_generator **out, const struct pq_model *m,
                                          const struct pq_generator_options *o, struct pq_err *e);
PQ_API void pq_generator_free(struct pq_generator *g); /* NULL is fine */

/* Ids of `size` bytes of text into id[cap]; *n receives how many there are, which may be more than
 * cap. With `ends`, also what the model puts around a text. */
PQ_API PQ_MUST_CHECK int pq_generator_tokenize(const struct pq_generator *g, const char *text,
                                               size_t size, int ends, uint32_t *id, size_t cap,
                                               size_t *n, struct pq_err *e);

struct pq_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text; /* UTF-8 */
};
/* What the model goes on from becomes this: a text as it is, a conversation (messages, or JSON as
 * for pq_tokenize) in the chat template, or ids. The beginning that it has in common with what was
 * read before is not computed again. */
PQ_API PQ_MUST_CHECK int pq_generator_read_text(struct pq_generator *g, const char *text,
                                                size_t size, struct pq_err *e);
PQ_API PQ_MUST_CHECK int pq_generator_read_messages(struct pq_generator *g,
                                                    const struct pq_message *message, size_t n,
                                                    struct pq_err *e);
PQ_API PQ_MUST_CHECK int pq_generator_read_chat(struct pq_generator *g, const char *json,
                                                struct pq_err *e);
PQ_API PQ_MUST_CHECK int pq_generator_read_ids(struct pq_generator *g, const uint32_t *id, size_t n,
                                               struct pq_err *e);
/* Puts n > 0 tokens behind what was read. */
PQ_API PQ_MUST_CHECK int pq_generator_append(struct pq_generator *g, const uint32_t *id, size_t n,
                                             struct pq_err *e);

/* What was read, and the logits of what comes next; borrowed until the generator reads on. */
PQ_API const uint32_t *pq_generator_ids(const struct pq_generator *g, size_t *n);
PQ_API const float *pq_generator_logits(const struct pq_generator *g, size_t *vocabulary);

/* Set with pq_generate_options_default first. */
struct pq_generate_options {
    size_t struct_size;      /* sizeof of this struct, set by the default call */
    uint64_t max_tokens;     /* 0 = as many as fit the context */
    const char *const *stop; /* texts that end it, themselves not part of the result */
    size_t n_stop;
    /* Gets text as it comes, in whole UTF-8 characters and never the beginning of a stop text; a
     * non-zero return stops. May be NULL. */
    int (*on_text)(void *ctx, const char *text, size_t size);
    void *ctx;
};
PQ_API void pq_generate_options_default(struct pq_generate_options *o);

struct pq_generated { /* borrowed until the generator generates again or is freed */
    const char *text; /* ended by a zero byte */
    size_t size;
    size_t n_tokens;
    const char *finish; /* "eos", "stop", "length", "context" or "cancelled" */
};
/* Goes on after what was read; every token but the last is then read as well. */
PQ_API PQ_MUST_CHECK int pq_generator_run(struct pq_generator *g,
                                          const struct pq_generate_options *o,
                                          struct pq_generated *out, struct pq_err *e);

#ifdef __cplusplus
}
#endif
#endif
