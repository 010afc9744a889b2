/* phiq: verbs and what leads to them. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "cli/cli.h"

#include <stdio.h>

const struct pq_verb pq_verbs[] = {
    {"quantize", "CHECKPOINT [options]",
     "quantize a Phi checkpoint and write it for one or more runtimes",
     "CHECKPOINT is a Hugging Face folder (safetensors or PyTorch .bin), a GGUF file, an MLX,\n"
     "ONNX or OpenVINO folder. Every target is written next to its final place, read back and "
     "compared, "
     "and only\n"
     "then renamed: outputs are whole or absent. The source is read once for all targets.\n"
     "\n"
     "  phiq quantize ./Phi-3.5-mini-instruct --to gguf,mlx --precision int4 -o out\n"
     "  phiq quantize ./Phi-3.5-mini-instruct --calibration text.txt -o out\n"
     "  phiq quantize ./phi-4 --scheme gguf:q5_k_m -o out --dry-run\n"
     "  phiq quantize ./phi-4 --tensor '*down_proj*=q8_0' --imatrix imatrix.gguf -o out\n",
     1, 1, pq_cmd_quantize},
    {"info", "PATH [options]", "describe a model file or folder",
     "Architecture, tensors, schemes, bits per weight, bytes, tokenizer of anything phiq reads.\n"
     "\n"
     "  phiq info out/gguf/Phi-3.5-mini-instruct-Q4_K_M.gguf\n"
     "  phiq info out/mlx --tensors\n",
     1, 1, pq_cmd_info},
    {"plan", "CHECKPOINT [options]", "which precision fits which device",
     "Exact bytes on disk and the memory needed for every container and precision, and, for a\n"
     "device or an amount of memory, advice: INT4 for phones and IoT; FP32, FP16 or INT8 for AI\n"
     "PCs as far as they fit.\n"
     "\n"
     "  phiq plan ./phi-4 --ram 16G --device aipc\n"
     "  phiq plan ./Phi-4-mini-instruct --device phone --tokens 2048\n",
     1, 1, pq_cmd_plan},
    {"compare", "A B [options]", "how far the weights of B are from those of A",
     "Relative RMS error of every tensor of B against A, worst first. A and B are any two "
     "readable\n"
     "models of the same network.\n"
     "\n"
     "  phiq compare ./Phi-3.5-mini-instruct out/gguf/Phi-3.5-mini-instruct-Q4_K_M.gguf\n",
     2, 2, pq_cmd_compare},
    {"calibrate", "CHECKPOINT --text FILE -o FILE [options]",
     "measure what matters to a model on a text, for quantize --imatrix",
     "Reads the text in windows, a layer at a time, and sums the squared inputs of every column "
     "of\n"
     "every matrix. The file is llama.cpp's importance matrix in GGUF form: phiq quantize and\n"
     "llama-quantize take it with --imatrix, for any container, scheme and size of group.\n"
     "\n"
     "  phiq calibrate ./Phi-3.5-mini-instruct --text calibration.txt -o phi-3.5.imatrix.gguf\n"
     "  phiq quantize ./Phi-3.5-mini-instruct --imatrix phi-3.5.imatrix.gguf -o out\n"
     "\n"
     "With --products the file also holds what solver gptq needs, and is for phiq alone:\n"
     "\n"
     "  phiq calibrate ./phi-4 --text calibration.txt --products -o phi-4.stats.gguf\n"
     "  phiq quantize ./phi-4 --imatrix phi-4.stats.gguf -o out\n",
     1, 1, pq_cmd_calibrate},
    {"sensitivity", "CHECKPOINT --text FILE -o FILE [options]",
     "measure what each matrix costs in each scheme, for quantize to a target",
     "Quantizes one matrix at a time in memory, runs the network on a few windows of the text, "
     "and\n"
     "takes the KL divergence of its predictions from those without. Other schemes follow from "
     "the\n"
     "error of the matrix's products; with --every, all are run. Done once for a model:\n"
     "\n"
     "  phiq sensitivity ./phi-4 --to gguf,mlx --text calibration.txt -o phi-4.sens.json\n"
     "  phiq quantize ./phi-4 --to gguf --target-size 8.2G --sensitivity phi-4.sens.json -o out\n"
     "  phiq quantize ./phi-4 --to mlx --target-bpw 4.25 --sensitivity phi-4.sens.json -o out\n",
     1, 1, pq_cmd_sensitivity},
    {"eval", "MODEL --text FILE [options]",
     "perplexity, and how far predictions are from a reference",
     "Reads the text in windows with phiq's own forward pass over the file that was written, by\n"
     "llama-perplexity's protocol: perplexity per token, word and byte. With --ref also the KL\n"
     "divergence from the reference's predictions (mean, median, 90, 99, 99.9 %, largest), how\n"
     "often both think the same token likeliest, and flips (one is right, the other wrong).\n"
     "Plus or minus: 95 % confidence over windows.\n"
     "\n"
     "  phiq eval out/gguf/Phi-3.5-mini-instruct-Q4_K_M.gguf --text wiki.txt\n"
     "  phiq eval out/mlx --ref ./Phi-3.5-mini-instruct --text wiki.txt --windows 50\n"
     "  phiq eval ./phi-4 --text wiki.txt --save-logits phi-4.logits\n"
     "  phiq eval out/openvino --ref phi-4.logits --text wiki.txt --json\n",
     1, 1, pq_cmd_eval},
    {"report", "CHECKPOINT [OUTPUT...] [options]",
     "an HTML page: size against loss of every precision and container",
     "Quantizes the checkpoint to every precision and notable scheme of every container, one "
     "after\n"
     "the other in a temporary folder, measures the written files and draws them: size against KL\n"
     "divergence, error by layer, what happens to the numbers, a text token by token, advice for\n"
     "devices, and the commands behind every number. One file, no network. With outputs named,\n"
     "those are measured instead. With --calibration TEXT (another one than --text) it calibrates\n"
     "once for all choices. Without --text a short text of phiq's own is read (phiq help\n"
     "sample-text); --dry-run says what it would take.\n"
     "\n"
     "  phiq report ./Phi-3.5-mini-instruct --text wiki.txt -o report.html\n"
     "  phiq report ./phi-4 --to gguf,openvino --precisions int8,int4,q3_k_m --windows 8\n"
     "  phiq report ./phi-4 out/gguf/*.gguf out/mlx out/onnx out/openvino\n",
     1, PQ_MAX_POS, pq_cmd_report},
    {"refine", "MODEL --ref CHECKPOINT --text FILE -o PATH [options]",
     "let a quantized model learn from the checkpoint's predictions",
     "Reads windows of the text with both, and moves codes, scales, norms and biases along the\n"
     "gradient of the KL divergence through the whole network. Schemes stay, so that the result "
     "has\n"
     "the same bytes in the same places, for any container. Slow, and the least loss; begin with "
     "what\n"
     "--solver gptq made. Some windows are kept apart: nothing is written when the model is no "
     "better\n"
     "on them. Takes about 30 bytes of memory for each weight.\n"
     "\n"
     "  phiq refine out/mlx --ref ./phi-tiny --text calibration.txt -o refined/mlx\n",
     1, 1, pq_cmd_refine},
    {"schemes", "[options]", "list what each container can be written as",
     "Recipes (placements of schemes over a network's tensors) for --scheme, and schemes of "
     "single\n"
     "tensors for --tensor, --embed and --head, with exact bits per weight.\n",
     0, 0, pq_cmd_schemes},
    {"tokenize", "PATH [options]", "the tokens of a text or of a conversation",
     "Ids and pieces as the tokenizer of the model gives them. A conversation is JSON, a list of\n"
     "{\"role\", \"content\"} or an object with \"messages\" and what else the template uses. It\n"
     "goes through the model's chat template.\n"
     "\n"
     "  phiq tokenize ./Phi-3.5-mini-instruct -p 'Once upon a time'\n"
     "  phiq tokenize ./phi-4 --chat '[{\"role\": \"user\", \"content\": \"Hello\"}]' --json\n"
     "  phiq tokenize ./phi-2 --chat talk.json --template phi2\n",
     1, 1, pq_cmd_tokenize},
    {"run", "PATH [options]", "go on from a text with any model that phiq reads",
     "Reads the prompt (--prompt, --file, --chat, or standard input) and prints what the model "
     "makes\n"
     "of it as it comes. Computes in single precision from the stored weights, as transformers "
     "does;\n"
     "Ctrl-C ends the text. A text is taken as it is; --chat puts a conversation into the model's\n"
     "template.\n"
     "\n"
     "  phiq run out/mlx -p 'Once upon a time'\n"
     "  phiq run ./phi-4 --chat '[{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}]'\n"
     "  phiq run out/gguf/phi-4-Q4_K_M.gguf --file letter.txt --temperature 0.8 --top-p 0.95\n",
     1, 1, pq_cmd_run},
    {"chat", "PATH [options]", "talk with a model",
     "Every line is a message, put into the model's own chat template (or --template NAME); a "
     "line\n"
     "that ends in \\ goes on in the next one, \"\"\" begins and ends a message of several lines.\n"
     "Ctrl-C ends an answer, Ctrl-D the conversation. /reset, /system TEXT, /save FILE, /load "
     "FILE,\n"
     "/help, /quit. Lines are edited as in a shell; what is typed is kept for the next session in\n"
     "phiq/chat_history of $XDG_STATE_HOME (~/.local/state), unless --no-history says otherwise.\n"
     "\n"
     "  phiq chat out/gguf/Phi-3.5-mini-instruct-Q4_K_M.gguf --temperature 0.7 --top-p 0.9\n",
     1, 1, pq_cmd_chat},
    {"bench", "PATH [options]", "how fast a model reads a prompt and generates",
     "Tokens a second for prompts of several lengths and for generating after each, and what that "
     "is\n"
     "of what this machine can do: threads that only multiply, and threads that only read the "
     "weights,\n"
     "are measured before and after every sample.\n"
     "\n"
     "  phiq bench out/gguf/Phi-3.5-mini-instruct-Q4_K_M.gguf --prompts 128,512,2048 -n 128\n",
     1, 1, pq_cmd_bench},
    {"help", "[VERB | schemes | devices | sample-text | exit-codes]", "explain a verb or a topic",
     "", 0, 1, pq_cmd_help},
    {"completion", "bash|zsh|fish", "print a completion script for a shell",
     "  phiq completion bash > /etc/bash_completion.d/phiq\n"
     "  phiq completion zsh > \"${fpath[1]}/_phiq\"\n"
     "  phiq completion fish > ~/.config/fish/completions/phiq.fish\n",
     1, 1, pq_cmd_completion},
    {0},
};

const struct pq_verb *pq_verb_find(const char *name)
{
    for (const struct pq_verb *v = pq_verbs; v->name; v++)
        if (!strcmp(v->name, name))
            return v;
    return NULL;
}

static int unknown_verb(const char *word, struct pq_err *e)
{
    const char *names[PQ_LEN(pq_verbs)];
    size_t n = 0;
    for (const struct pq_verb *v = pq_verbs; v->name; v++)
        names[n++] = v->name;
    const char *best = pq_nearest(word, names, n);
    return pq_fail(e, PQ_EINVAL, "unknown verb \"%s\"%s%s%s (phiq help)", word,
                   best ? ": did you mean " : "", best ? best : "", best ? "?" : "");
}

static int run(int argc, char **argv, struct pq_err *e)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
        pq_help_overview();
        return argc < 2 ? pq_fail(e, PQ_EINVAL, "a verb is needed") : PQ_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("phiq %s\n", pq_version());
        return PQ_OK;
    }
    const struct pq_verb *v = pq_verb_find(argv[1]);
    if (!v)
        return unknown_verb(argv[1], e);
    struct pq_args a = {0};
    int rc = pq_args_parse(&a, v, argc - 2, argv + 2, e);
    if (rc < 0)
        return rc;
    if (a.help) {
        pq_help_verb(v);
        return PQ_OK;
    }
    return v->run(&a, e);
}

int main(int argc, char **argv)
{
    struct pq_err e = {0};
    int rc = run(argc, argv, &e);
    if (rc >= 0 && (fflush(stdout) || ferror(stdout)))
        rc = pq_fail(&e, PQ_EIO, "cannot write to standard output");
    if (rc < 0)
        fprintf(stderr, "phiq: %s\n", e.msg[0] ? e.msg : pq_status_name(rc));
    return rc < 0 ? -rc : 0;
}
