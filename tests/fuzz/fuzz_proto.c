/* protobuf: fields lie in their message; bytes are tried as messages in turn.
 * SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "wire/proto.h"

static void walk(struct pq_proto r, int depth)
{
    struct pq_proto_field f;
    struct pq_err e = {0};
    int rc;
    while ((rc = pq_proto_next(&r, &f, &e)) > 0) {
        REQUIRE(f.number > 0);
        if (f.wire != PQ_PROTO_BYTES)
            continue;
        REQUIRE(f.data >= r.start && f.data + f.size == r.at && r.at <= r.end);
        if (depth < 6)
            walk(pq_proto_sub(&r, &f), depth + 1);
    }
    REQUIRE(rc == 0 ? r.at == r.end : e.msg[0] != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(pq_proto_open(data, size, "x"), 0);
    return 0;
}
