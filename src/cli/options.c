/* The option table and its parser. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define AT(field) offsetof(struct pq_args, field)

const struct pq_opt pq_opts[] = {
    {"to", 0, PQ_OPT_STR, AT(to), "LIST", " quantize report sensitivity ",
     "containers to write, separated by commas: gguf, mlx, onnx, openvino (default: all)"},
    {"out", 'o', PQ_OPT_STR, AT(out), "PATH", " quantize calibrate sensitivity report refine ",
     "the file to write; quantize: output folder, receives DIR/gguf/NAME-SCHEME.gguf, DIR/mlx/, "
     "DIR/onnx/, "
     "DIR/openvino/"},
    {"precision", 'p', PQ_OPT_STR, AT(precision), "P", " quantize ",
     "int4 (default), int8, fp16, bf16 or fp32: each container's usual scheme"},
    {"scheme", 's', PQ_OPT_STR, AT(scheme), "S", " quantize ",
     "a scheme by name, per container: gguf:q4_k_m,onnx:int4_down (see phiq schemes)"},
    {"precisions", 0, PQ_OPT_STR, AT(precisions), "LIST", " report ",
     "what to measure: precisions and schemes, int8,int4,q3_k_m,mlx:mxfp4 (default: all precisions "
     "and notable schemes)"},
    {"group-size", 'g', PQ_OPT_GROUP, AT(group_size), "N", " quantize ",
     "weights per scale: 32, 64, 128..., or -1 for a scale per row (default: the precision's "
     "usual)"},
    {"sym", 0, PQ_OPT_FLAG, AT(sym), NULL, " quantize ", "scales only, no zero points"},
    {"asym", 0, PQ_OPT_FLAG, AT(asym), NULL, " quantize ", "scales and zero points"},
    {"ratio", 0, PQ_OPT_FRACTION, AT(ratio), "R", " quantize ",
     "share of the weights in 4-bit layers that stay 4-bit; the layers that lose most take 8"},
    {"tensor", 't', PQ_OPT_LIST, AT(rule), "PATTERN=S", " quantize ",
     "scheme for tensors whose name matches (* and ?); repeatable, first match wins"},
    {"embed", 0, PQ_OPT_STR, AT(embed), "S", " quantize ", "scheme of the token embedding"},
    {"head", 0, PQ_OPT_STR, AT(head), "S", " quantize ", "scheme of the output head"},
    {"target-size", 0, PQ_OPT_SIZE, AT(target_size), "SIZE", " quantize ",
     "choose every matrix's scheme so that the least is lost within SIZE, all files counted "
     "(2.2G)"},
    {"target-bpw", 0, PQ_OPT_NUMBER, AT(target_bpw), "B", " quantize ",
     "the same within B bits per weight of all tensors (4.25)"},
    {"max-kld", 0, PQ_OPT_NUMBER, AT(max_kld), "X", " quantize ",
     "the smallest output whose expected KL divergence is at most X nats"},
    {"sensitivity", 0, PQ_OPT_STR, AT(sensitivity), "FILE", " quantize ",
     "what schemes cost, from phiq sensitivity, for a target (else --calibration's text tells)"},
    {"imatrix", 0, PQ_OPT_STR, AT(imatrix), "FILE", " quantize report sensitivity ",
     "what phiq calibrate wrote, or llama.cpp's importance matrix, in GGUF form"},
    {"calibration", 0, PQ_OPT_STR, AT(calibration), "FILE", " quantize report ",
     "calibrate on this text first (phiq calibrate --products), keeping nothing of it"},
    {"solver", 0, PQ_OPT_STR, AT(solver), "NAME", " quantize report sensitivity ",
     "search (least weighted error), rtn (round to nearest), or gptq (search, then rounding that "
     "makes up for what earlier columns lost; needs products of inputs, and is the default where "
     "there are any)"},
    {"context", 0, PQ_OPT_STR, AT(context), "short|long", " quantize ",
     "LongRoPE models: write one kind of factors, so that MLX (and llama.cpp at any context) is "
     "right for short or for long prompts (default: MLX long, others both)"},
    {"provider", 0, PQ_OPT_STR, AT(provider), "NAME", " quantize ",
     "what the ONNX folder runs on: cpu (default), cuda, dml or webgpu"},
    {"split-max-size", 0, PQ_OPT_SIZE, AT(split), "SIZE", " quantize ",
     "GGUF shards no larger than SIZE (2G, 500M)"},
    {"name", 0, PQ_OPT_STR, AT(name), "NAME", " quantize ",
     "model name in file names and metadata (default: the folder's)"},
    {"dry-run", 'n', PQ_OPT_FLAG, AT(dry_run), NULL, " quantize report ",
     "plan and print every tensor's scheme and bytes; write nothing"},
    {"force", 'f', PQ_OPT_FLAG, AT(force), NULL, " quantize refine ", "replace existing outputs"},
    {"device", 0, PQ_OPT_STR, AT(device), "D", " plan ", "phone, iot, aipc, mac or cuda"},
    {"ram", 0, PQ_OPT_SIZE, AT(ram), "SIZE", " plan ", "memory of the device (8G)"},
    {"tokens", 0, PQ_OPT_COUNT, AT(tokens), "N", " plan ",
     "context length to keep in memory (default 4096)"},
    {"text", 0, PQ_OPT_STR, AT(text), "FILE", " eval calibrate sensitivity report refine ",
     "the text to predict, or to learn from"},
    {"ref", 0, PQ_OPT_STR, AT(ref), "PATH", " eval refine ",
     "what to compare with: a model, or a file made by --save-logits"},
    {"save-logits", 0, PQ_OPT_STR, AT(save_logits), "FILE", " eval ",
     "keep the predictions of the reference (or else of the model) for later runs"},
    {"window", 0, PQ_OPT_COUNT, AT(window), "N", " eval calibrate sensitivity report refine ",
     "tokens read at once (default: 512, or the model's limit)"},
    {"windows", 0, PQ_OPT_COUNT, AT(windows), "N",
     " eval calibrate quantize report sensitivity refine ",
     "stop after so many windows (quantize: of --calibration; sensitivity: spread over the text, "
     "default 4)"},
    {"temp", 0, PQ_OPT_STR, AT(temp), "DIR", " report ",
     "where temporary files go (default: beside the report)"},
    {"whole", 0, PQ_OPT_FLAG, AT(whole), NULL, " eval ",
     "score every token of a window, not only the second half as llama-perplexity does"},
    {"products", 0, PQ_OPT_FLAG, AT(products), NULL, " calibrate ",
     "sum the products of inputs too, for --solver gptq: half of columns^2 floats for each matrix"},
    {"every", 0, PQ_OPT_FLAG, AT(every), NULL, " sensitivity ",
     "every scheme goes through the network, not one for each matrix: 10 to 20 times the work"},
    {"steps", 0, PQ_OPT_COUNT, AT(steps), "N", " refine ", "steps of learning (default 200)"},
    {"batch", 0, PQ_OPT_COUNT, AT(batch), "N", " refine ", "windows of a step (default 4)"},
    {"rate", 0, PQ_OPT_NUMBER, AT(rate), "R", " refine ",
     "of learning: how far a code moves in a step at most, in codes (default 0.002)"},
    {"prompt", 'p', PQ_OPT_STR, AT(prompt), "TEXT", " tokenize run ", "the text"},
    {"file", 0, PQ_OPT_STR, AT(file), "FILE", " tokenize run ", "the text is what FILE holds"},
    {"chat", 0, PQ_OPT_STR, AT(chat), "JSON", " tokenize run chat ",
     "a conversation: JSON itself, or a file that holds it"},
    {"template", 0, PQ_OPT_STR, AT(template_name), "NAME", " tokenize run chat ",
     "chat template: phi2, phi3, phi3-medium, phi3-small, phi4, phi4-mini (default: the model's "
     "own)"},
    {"system", 0, PQ_OPT_STR, AT(system), "TEXT", " chat ", "the system message"},
    {"no-history", 0, PQ_OPT_FLAG, AT(no_history), NULL, " chat ",
     "do not keep what is typed for the next session"},
    {"max-tokens", 'n', PQ_OPT_COUNT, AT(max_tokens), "N", " run chat ",
     "most tokens to generate (default 256)"},
    {"prompts", 'p', PQ_OPT_STR, AT(prompts), "LIST", " bench ",
     "lengths of the prompts in tokens (default 128,512)"},
    {"generate", 'n', PQ_OPT_COUNT, AT(max_tokens), "N", " bench ",
     "tokens to generate after each prompt (default 64)"},
    {"repeat", 'r', PQ_OPT_COUNT, AT(repeats), "N", " bench ",
     "how often everything is measured (default 5)"},
    {"temperature", 0, PQ_OPT_NUMBER, AT(temperature), "T", " run chat ",
     "0 takes the most likely token (default), 1 the model's own distribution"},
    {"top-k", 0, PQ_OPT_COUNT, AT(top_k), "K", " run chat ", "only the K most likely tokens"},
    {"top-p", 0, PQ_OPT_FRACTION, AT(top_p), "P", " run chat ",
     "only the most likely tokens that make up this share of the probability"},
    {"min-p", 0, PQ_OPT_FRACTION, AT(min_p), "P", " run chat ",
     "only tokens at least P times as likely as the most likely one"},
    {"repeat-penalty", 0, PQ_OPT_NUMBER, AT(repeat_penalty), "R", " run chat ",
     "above 1 makes tokens that were there less likely"},
    {"seed", 0, PQ_OPT_COUNT, AT(seed), "N", " run chat ",
     "of the random numbers: the same seed, the same text"},
    {"stop", 0, PQ_OPT_LIST, AT(stop), "TEXT", " run chat ",
     "text that ends the answer; repeatable"},
    {"context-size", 0, PQ_OPT_COUNT, AT(context_size), "N", " run chat ",
     "most tokens, prompt included (default: what the model was made for)"},
    {"kv", 0, PQ_OPT_STR, AT(kv), "TYPE", " run chat bench ",
     "how keys and values are kept: f16 (default), int8 (blocks of 32 with a scale) or f32"},
    {"exact", 0, PQ_OPT_FLAG, AT(exact), NULL, " run chat bench ",
     "activations of quantized layers in single precision, not rounded to 8 bits: slower"},
    {"tensors", 0, PQ_OPT_FLAG, AT(tensors), NULL, " info quantize ", "a row for every tensor"},
    {"threads", 'j', PQ_OPT_COUNT, AT(threads), "N",
     " quantize compare calibrate sensitivity eval report run chat bench refine ",
     "worker threads (default: all CPUs); the output does not depend on it"},
    {"cpu", 0, PQ_OPT_STR, AT(cpu), "LEVEL",
     " quantize calibrate sensitivity eval report run chat bench refine ",
     "highest instruction set to use: c, avx2, avx512, neon (same output)"},
    {"json", 0, PQ_OPT_FLAG, AT(json), NULL,
     " eval report calibrate sensitivity quantize info plan compare schemes tokenize run bench "
     "refine ",
     "print the result as JSON (docs/json.md)"},
    {"csv", 0, PQ_OPT_FLAG, AT(csv), NULL, " bench ", "print the result as comma-separated values"},
    {"quiet", 'q', PQ_OPT_FLAG, AT(quiet), NULL,
     " quantize calibrate sensitivity eval report run chat refine ", "no progress, no table"},
    {"help", 'h', PQ_OPT_FLAG, AT(help), NULL, "*", "this help"},
    {0},
};

bool pq_opt_of(const struct pq_opt *o, const struct pq_verb *v)
{
    size_t n = strlen(v->name);
    for (const char *p = o->verbs; (p = strstr(p, v->name)); p++)
        if (p > o->verbs && p[-1] == ' ' && p[n] == ' ')
            return true;
    return o->verbs[0] == '*';
}

/* Levenshtein distance of short words. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    size_t row[MAX + 1], n = strlen(a), m = strlen(b);
    if (n > MAX || m > MAX)
        return MAX;
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diag = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = diag + (a[i - 1] != b[j - 1]);
            diag = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[m];
}

const char *pq_nearest(const char *word, const char *const *list, size_t n)
{
    const char *best = NULL;
    size_t near = strlen(word) / 2 + 1; /* at most half of it wrong */
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, list[i]);
        if (d < near || (strlen(word) >= 3 && !best && !strncmp(word, list[i], strlen(word)))) {
            near = d < near ? d : near;
            best = list[i];
        }
    }
    return best;
}

static int unknown_option(const char *arg, const struct pq_verb *v, struct pq_err *e)
{
    const char *names[PQ_LEN(pq_opts)];
    size_t n = 0;
    for (const struct pq_opt *o = pq_opts; o->name; o++)
        if (pq_opt_of(o, v))
            names[n++] = o->name;
    const char *best = pq_nearest(arg + strspn(arg, "-"), names, n);
    return pq_fail(e, PQ_EINVAL, "phiq %s has no option %s%s%s%s (phiq help %s)", v->name, arg,
                   best ? ": did you mean --" : "", best ? best : "", best ? "?" : "", v->name);
}

/* "8G", "500M", "1.5G", "123456"; decimal units as disks and the peers count them. */
static int parse_size(uint64_t *out, const char *opt, const char *text, struct pq_err *e)
{
    char *end;
    double v = strtod(text, &end), unit = 1;
    static const char units[] = "KMGT";
    const char *u = *end ? strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end) : NULL;
    for (const char *p = units; u && p <= u; p++)
        unit *= 1000;
    if (u)
        end++;
    if (*end == 'B' || *end == 'b')
        end++;
    if (end == text || *end || !(v > 0) || v * unit > 1e18)
        return pq_fail(e, PQ_EINVAL, "--%s %s: expected a size such as 8G or 500M", opt, text);
    *out = (uint64_t)(v * unit);
    return PQ_OK;
}

static int parse_count(uint64_t *out, const char *opt, const char *text, struct pq_err *e)
{
    char *end;
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || *end || text[0] == '-' || v == 0 || v > 1000000000)
        return pq_fail(e, PQ_EINVAL, "--%s %s: expected a whole number above zero", opt, text);
    *out = v;
    return PQ_OK;
}

static int parse_group(int *out, const char *opt, const char *text, struct pq_err *e)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end || (v < 1 && v != -1) || v > 1000000)
        return pq_fail(e, PQ_EINVAL, "--%s %s: expected a number of weights, or -1 for whole rows",
                       opt, text);
    *out = (int)v;
    return PQ_OK;
}

static int parse_fraction(double *out, const char *opt, const char *text, struct pq_err *e)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v > 0 && v <= 1))
        return pq_fail(e, PQ_EINVAL, "--%s %s: expected a number above 0 and at most 1", opt, text);
    *out = v;
    return PQ_OK;
}

static int parse_number(double *out, const char *opt, const char *text, struct pq_err *e)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= 0 && v < 1e9))
        return pq_fail(e, PQ_EINVAL, "--%s %s: expected a number, not below 0", opt, text);
    *out = v;
    return PQ_OK;
}

static int add_to_list(struct pq_list *l, const char *opt, const char *value, struct pq_err *e)
{
    if (l->n == PQ_MAX_LIST)
        return pq_fail(e, PQ_EINVAL, "more than %d times --%s", PQ_MAX_LIST, opt);
    l->item[l->n++] = value;
    return PQ_OK;
}

static int store(struct pq_args *a, const struct pq_opt *o, const char *value, struct pq_err *e)
{
    char *field = (char *)a + o->offset;
    switch (o->kind) {
    case PQ_OPT_FLAG:
        *(bool *)field = true;
        return PQ_OK;
    case PQ_OPT_STR:
        *(const char **)field = value;
        return PQ_OK;
    case PQ_OPT_LIST:
        return add_to_list((struct pq_list *)field, o->name, value, e);
    case PQ_OPT_SIZE:
        return parse_size((uint64_t *)field, o->name, value, e);
    case PQ_OPT_COUNT:
        return parse_count((uint64_t *)field, o->name, value, e);
    case PQ_OPT_GROUP:
        return parse_group((int *)field, o->name, value, e);
    case PQ_OPT_FRACTION:
        return parse_fraction((double *)field, o->name, value, e);
    case PQ_OPT_NUMBER:
        return parse_number((double *)field, o->name, value, e);
    }
    return PQ_OK;
}

/* "--name", "--name=value", "-x": the row, and the value when it is attached. */
static const struct pq_opt *match(const struct pq_verb *v, const char *arg, const char **value)
{
    const char *eq = strchr(arg, '=');
    size_t n = eq ? (size_t)(eq - arg) - 2 : strlen(arg) - 2;
    for (const struct pq_opt *o = pq_opts; o->name; o++) {
        if (!pq_opt_of(o, v))
            continue;
        if (arg[1] == '-' && strlen(o->name) == n && !strncmp(arg + 2, o->name, n)) {
            *value = eq ? eq + 1 : NULL;
            return o;
        }
        if (arg[1] != '-' && o->letter && arg[1] == o->letter) {
            *value = arg[2] ? arg + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

static int positional(struct pq_args *a, const struct pq_verb *v, const char *arg, struct pq_err *e)
{
    if (a->n_pos == v->max_pos)
        return pq_fail(e, PQ_EINVAL, "phiq %s: \"%s\" is one argument too many (usage: phiq %s %s)",
                       v->name, arg, v->name, v->usage);
    a->pos[a->n_pos++] = arg;
    return PQ_OK;
}

int pq_args_parse(struct pq_args *a, const struct pq_verb *v, int argc, char **argv,
                  struct pq_err *e)
{
    int rc = PQ_OK;
    bool options = true;
    for (int i = 0; i < argc && rc >= 0; i++) {
        const char *value = NULL;
        if (!options || argv[i][0] != '-' || !argv[i][1]) {
            rc = positional(a, v, argv[i], e);
            continue;
        }
        if (!strcmp(argv[i], "--")) {
            options = false;
            continue;
        }
        const struct pq_opt *o = match(v, argv[i], &value);
        if (!o)
            return unknown_option(argv[i], v, e);
        if (o->kind == PQ_OPT_FLAG && value)
            return pq_fail(e, PQ_EINVAL, "--%s takes no value", o->name);
        if (o->kind != PQ_OPT_FLAG && !value) {
            if (i + 1 == argc)
                return pq_fail(e, PQ_EINVAL, "--%s needs a value: %s", o->name, o->help);
            value = argv[++i];
        }
        rc = store(a, o, value, e);
    }
    if (rc >= 0 && !a->help && a->n_pos < v->min_pos)
        rc = pq_fail(e, PQ_EINVAL, "usage: phiq %s %s (phiq help %s)", v->name, v->usage, v->name);
    return rc;
}
