/*
 * The protobuf wire format, read field by field: enough for SentencePiece models and ONNX graphs.
 * Source: "Encoding" of the Protocol Buffers documentation. SPDX-License-Identifier: MIT
 *
 *     struct pq_proto r = pq_proto_open(data, size, "tokenizer.model");
 *     struct pq_proto_field f;
 *     while ((rc = pq_proto_next(&r, &f, e)) > 0)
 *         if (f.number == 1 && f.wire == PQ_PROTO_BYTES) ...   a sub-message: pq_proto_sub(&r, &f)
 */
#ifndef PQ_WIRE_PROTO_H
#define PQ_WIRE_PROTO_H

#include "base/err.h"

enum pq_proto_wire { PQ_PROTO_VARINT, PQ_PROTO_FIXED64, PQ_PROTO_BYTES, PQ_PROTO_FIXED32 = 5 };

/* One message, borrowed. */
struct pq_proto {
    const uint8_t *start, *at, *end;
    const char *file; /* for messages */
};

struct pq_proto_field {
    uint32_t number;
    enum pq_proto_wire wire;
    uint64_t value;      /* of a varint or fixed field */
    const uint8_t *data; /* of a bytes field: string, sub-message or packed values */
    size_t size;
};

struct pq_proto pq_proto_open(const void *data, size_t size, const char *file);
/* 1 and the next field; 0 at the end of the message; negative with words. Groups are refused. */
int pq_proto_next(struct pq_proto *r, struct pq_proto_field *f, struct pq_err *e) PQ_MUST_CHECK;
/* A reader of the sub-message in f. */
struct pq_proto pq_proto_sub(const struct pq_proto *r, const struct pq_proto_field *f);

float pq_proto_float(const struct pq_proto_field *f); /* of a fixed32 field */
int64_t pq_proto_int(const struct pq_proto_field *f); /* int32, int64, enum of a varint field */

#endif
