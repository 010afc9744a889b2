/*
 * Split patterns of byte-level BPE and the names that llama.cpp has for them (its list of
 * tokenizer.ggml.pre). SPDX-License-Identifier: MIT
 */
#include "tok/build.h"
#include "base/num.h"

/* GPT-2: lower-case contractions, words, numbers of any length. */
const char pq_pre_gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/* Two spellings of cl100k that match the same strings. */
static const char cl100k[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
static const char cl100k_tiktoken[] =
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";

static const char o200k[] =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* The first row of a pattern gives the name, the first row of a name the pattern. */
static const struct pre_row {
    const char *name, *pattern;
} rows[] = {
    {"phi-2", pq_pre_gpt2_pattern},
    {"gpt-2", pq_pre_gpt2_pattern},
    {"dbrx", cl100k},
    {"dbrx", cl100k_tiktoken},
    {"gpt-4o", o200k},
};

const char *pq_pre_of_pattern(const char *pattern)
{
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        if (!strcmp(rows[i].pattern, pattern))
            return rows[i].name;
    return NULL;
}

const char *pq_pre_pattern(const char *name)
{
    for (size_t i = 0; i < PQ_LEN(rows); i++)
        if (!strcmp(rows[i].name, name))
            return rows[i].pattern;
    return NULL;
}
