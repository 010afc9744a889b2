/* Protobuf wire format, bounds-checked. SPDX-License-Identifier: MIT */
#include "wire/proto.h"

#include "base/num.h"

#include <inttypes.h>

enum { MAX_FIELD = (1 << 29) - 1 };

struct pq_proto pq_proto_open(const void *data, size_t size, const char *file)
{
    const uint8_t *p = (const uint8_t *)data;
    return (struct pq_proto){p, p, p + size, file};
}

struct pq_proto pq_proto_sub(const struct pq_proto *r, const struct pq_proto_field *f)
{
    return pq_proto_open(f->data, f->size, r->file);
}

static int bad(const struct pq_proto *r, const char *what, struct pq_err *e)
{
    return pq_fail(e, PQ_EFORMAT, "%s: bad protobuf: %s at byte %zu of a message of %zu bytes",
                   r->file, what, (size_t)(r->at - r->start), (size_t)(r->end - r->start));
}

static int varint(struct pq_proto *r, uint64_t *v, struct pq_err *e)
{
    *v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            return bad(r, "a number that is cut short", e);
        uint8_t b = *r->at++;
        if (shift == 63 && b > 1)
            break;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return PQ_OK;
    }
    return bad(r, "a number of more than 64 bits", e);
}

static int fixed(struct pq_proto *r, size_t n, uint64_t *v, struct pq_err *e)
{
    if ((size_t)(r->end - r->at) < n)
        return bad(r, "a number that is cut short", e);
    *v = n == 8 ? pq_le64(r->at) : pq_le32(r->at);
    r->at += n;
    return PQ_OK;
}

static int bytes(struct pq_proto *r, struct pq_proto_field *f, struct pq_err *e)
{
    uint64_t n;
    int rc = varint(r, &n, e);
    if (rc < 0)
        return rc;
    if (n > (uint64_t)(r->end - r->at))
        return bad(r, "a field that is longer than its message", e);
    f->data = r->at;
    f->size = (size_t)n;
    r->at += n;
    return PQ_OK;
}

static int value(struct pq_proto *r, struct pq_proto_field *f, struct pq_err *e)
{
    switch (f->wire) {
    case PQ_PROTO_VARINT:
        return varint(r, &f->value, e);
    case PQ_PROTO_FIXED64:
        return fixed(r, 8, &f->value, e);
    case PQ_PROTO_FIXED32:
        return fixed(r, 4, &f->value, e);
    case PQ_PROTO_BYTES:
        return bytes(r, f, e);
    }
    return bad(r, "a field of a kind that is not read", e);
}

int pq_proto_next(struct pq_proto *r, struct pq_proto_field *f, struct pq_err *e)
{
    uint64_t tag;
    *f = (struct pq_proto_field){0};
    if (r->at == r->end)
        return 0;
    int rc = varint(r, &tag, e);
    if (rc < 0)
        return rc;
    if (tag >> 3 == 0 || tag >> 3 > MAX_FIELD)
        return bad(r, "a field number out of range", e);
    f->number = (uint32_t)(tag >> 3);
    f->wire = (enum pq_proto_wire)(tag & 7);
    rc = value(r, f, e);
    return rc < 0 ? rc : 1;
}

float pq_proto_float(const struct pq_proto_field *f)
{
    return pq_bits_f32((uint32_t)f->value);
}

int64_t pq_proto_int(const struct pq_proto_field *f)
{
    return (int64_t)f->value;
}
