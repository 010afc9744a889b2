/* JSON: what was read is printed and read back as the same value. SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_err e = {0};
    struct pq_buf b = {0};
    json_t *j, *again;
    if (pq_json_parse(&j, (const char *)data, size, "x", &e) < 0) {
        REQUIRE(e.code && e.msg[0]);
        return 0;
    }
    REQUIRE(pq_json_print(&b, j, &e) == PQ_OK);
    REQUIRE(pq_json_parse(&again, (const char *)b.data, b.len, "x", &e) == PQ_OK);
    REQUIRE(json_equal(j, again));
    json_decref(again);
    json_decref(j);
    pq_buf_free(&b);
    return 0;
}
