/* Any text as a chat template: it renders, or is refused in words. SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "tok/chat.h"

static const char request[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"S \", \"tools\": \"[]\"},"
    " {\"role\": \"user\", \"content\": \"\\u00e9 U\"}, {\"role\": \"assistant\", \"content\": "
    "null,"
    " \"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, "
    "true]}}}]}],"
    " \"tools\": [{\"name\": \"f\"}], \"n\": 3}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pq_vocab vocab = {.bos = -1, .eos = -1, .unk = -1, .pad = -1};
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_chat *c;
    struct pq_buf out = {0};
    json_t *j;
    char *source = pq_arena_strndup(&a, (const char *)data, size);
    REQUIRE(source && pq_json_parse(&j, request, sizeof request - 1, "request", &e) == PQ_OK);
    int rc = pq_chat_new(&c, source, &e);
    if (rc == PQ_OK)
        rc = pq_chat_render(c, &vocab, j, &out, &e);
    REQUIRE(rc <= PQ_OK && (rc == PQ_OK || (e.code == rc && e.msg[0])));
    pq_chat_free(c);
    pq_buf_free(&out);
    json_decref(j);
    pq_arena_free(&a);
    return 0;
}
