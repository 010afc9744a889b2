/* wire/: zip directories and the pickles of torch.save, sound and damaged.
 * SPDX-License-Identifier: MIT */
#include "malformed.h"

#include "base/fs.h"
#include "base/num.h"
#include "wire/pickle.h"
#include "wire/zip.h"

#include <stdio.h>

/* zip */

static int parse_zip(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_zip z;
    int rc = pq_zip_parse(&z, &a, data, n, "m.bin", e);
    for (size_t i = 0; rc >= 0 && i < z.n; i++) /* what is handed out lies inside */
        assert_true(z.entry[i].at <= n && z.entry[i].size <= n - z.entry[i].at);
    pq_arena_free(&a);
    return rc;
}

/* Places within the archive that `make_zip` writes, for tests that damage it. */
enum { LOCAL = 30, CENTRAL = 46, END = 22, LOCATOR = 20, END64 = 56 };

struct zip_at {
    size_t local[2], central[2], end64, locator, end;
};

static void put_local(struct pq_buf *b, const char *name, const char *data)
{
    pq_buf_le32(b, 0x04034b50);
    pq_buf_le16(b, 0);
    pq_buf_zero(b, 12); /* flags, method, time, crc */
    pq_buf_le32(b, (uint32_t)strlen(data));
    pq_buf_le32(b, (uint32_t)strlen(data));
    pq_buf_le16(b, (uint16_t)strlen(name));
    pq_buf_le16(b, 4); /* an extra field to pass over */
    pq_buf_puts(b, name);
    pq_buf_puts(b, "FB");
    pq_buf_le16(b, 0);
    pq_buf_puts(b, data);
}

/* With `wide`, size and offset stand in the zip64 extra field. */
static void put_central(struct pq_buf *b, const char *name, size_t size, size_t head, bool wide)
{
    pq_buf_le32(b, 0x02014b50);
    pq_buf_zero(b, 16); /* versions, flags, method, time, crc */
    pq_buf_le32(b, wide ? UINT32_MAX : (uint32_t)size);
    pq_buf_le32(b, wide ? UINT32_MAX : (uint32_t)size);
    pq_buf_le16(b, (uint16_t)strlen(name));
    pq_buf_le16(b, wide ? 28 : 0);
    pq_buf_zero(b, 10); /* comment, disk, attributes */
    pq_buf_le32(b, wide ? UINT32_MAX : (uint32_t)head);
    pq_buf_puts(b, name);
    if (wide) {
        pq_buf_le16(b, 1);
        pq_buf_le16(b, 24);
        pq_buf_le64(b, size);
        pq_buf_le64(b, size);
        pq_buf_le64(b, head);
    }
}

static void put_end64(struct pq_buf *b, struct zip_at *at)
{
    size_t dir = at->central[0], size = b->len - dir;
    at->end64 = b->len;
    pq_buf_le32(b, 0x06064b50);
    pq_buf_le64(b, END64 - 12);
    pq_buf_zero(b, 12); /* versions, disks */
    pq_buf_le64(b, 2);
    pq_buf_le64(b, 2);
    pq_buf_le64(b, size);
    pq_buf_le64(b, dir);
    at->locator = b->len;
    pq_buf_le32(b, 0x07064b50);
    pq_buf_le32(b, 0);
    pq_buf_le64(b, at->end64);
    pq_buf_le32(b, 1);
}

/* Two entries, "r/a" with "hello" and "r/b" with "you". */
static struct pq_buf make_zip(struct zip_at *at, bool wide)
{
    struct pq_buf b = {0};
    put_local(&b, "r/a", "hello");
    at->local[0] = 0;
    at->local[1] = b.len;
    put_local(&b, "r/b", "you");
    at->central[0] = b.len;
    put_central(&b, "r/a", 5, at->local[0], wide);
    at->central[1] = b.len;
    put_central(&b, "r/b", 3, at->local[1], wide);
    size_t dir_end = b.len;
    if (wide)
        put_end64(&b, at);
    at->end = b.len;
    pq_buf_le32(&b, 0x06054b50);
    pq_buf_zero(&b, 4);
    pq_buf_le16(&b, wide ? UINT16_MAX : 2);
    pq_buf_le16(&b, wide ? UINT16_MAX : 2);
    pq_buf_le32(&b, wide ? UINT32_MAX : (uint32_t)(dir_end - at->central[0]));
    pq_buf_le32(&b, wide ? UINT32_MAX : (uint32_t)at->central[0]);
    pq_buf_le16(&b, 0);
    return b;
}

static void zip_reading(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct zip_at at;
        struct pq_arena a = {0};
        struct pq_zip z;
        struct pq_err e = {0};
        struct pq_buf b = make_zip(&at, wide);
        assert_int_equal(pq_zip_parse(&z, &a, b.data, b.len, "m.bin", &e), PQ_OK);
        assert_int_equal(z.n, 2);
        const struct pq_zip_entry *t = pq_zip_find(&z, "r/b");
        assert_non_null(t);
        assert_int_equal(t->size, 3);
        assert_memory_equal(b.data + t->at, "you", 3);
        assert_null(pq_zip_find(&z, "r"));
        pq_arena_free(&a);
        cut_anywhere_fails(parse_zip, &b);
        any_byte_may_change(parse_zip, &b);
        memory_may_run_out(parse_zip, &b);
        pq_buf_free(&b);
    }
}

/* One field of the sound archive changed. */
struct damage {
    char part; /* l, m: local headers; c, d: central entries; 6: end64; k: locator; e: end */
    size_t at;
    unsigned bytes;
    uint64_t value;
    const char *words;
};

static size_t start_of(const struct zip_at *at, char part)
{
    switch (part) {
    case 'l':
        return at->local[0];
    case 'm':
        return at->local[1];
    case 'c':
        return at->central[0];
    case 'd':
        return at->central[1];
    case '6':
        return at->end64;
    case 'k':
        return at->locator;
    default:
        return at->end;
    }
}

static void check_damage(const struct damage *d, size_t n, bool wide)
{
    for (size_t i = 0; i < n; i++) {
        struct zip_at at;
        struct pq_buf b = make_zip(&at, wide);
        uint8_t *p = b.data + start_of(&at, d[i].part) + d[i].at;
        for (unsigned k = 0; k < d[i].bytes; k++)
            p[k] = (uint8_t)(d[i].value >> 8 * k);
        refused(parse_zip, &b, d[i].words);
        pq_buf_free(&b);
    }
}

static void zip_refusals(void **state)
{
    (void)state;
    static const struct damage rows[] = {
        {'e', 0, 4, 0, "m.bin: bad zip archive: no end record"},
        {'e', 20, 2, 1, "no end record"}, /* a comment that is not there */
        {'e', 4, 2, 1, "split over several files"},
        {'e', 10, 2, 1, "more entries than its end record says"},
        {'e', 10, 2, 3, "too small for its number of entries"},
        {'e', 12, 4, 97, "its directory does not end at its end record"},
        {'e', 16, 4, 0xfffffff0, "its directory does not end at its end record"},
        {'c', 0, 4, 0, "its directory is damaged"},
        {'d', 28, 2, 0xffff, "its directory is cut short"},
        {'d', 28, 2, 0, "an entry has no name"},
        {'c', 46, 1, 0, "an entry has no name or one with a NUL byte"},
        {'c', 8, 2, 1, "entry r/a is encrypted"},
        {'c', 10, 2, 8, "entry r/a is compressed (method 8)"},
        {'c', 34, 2, 1, "entry r/a: it lies in another file of a split archive"},
        {'c', 20, 4, 4, "entry r/a: stored with two different sizes"},
        {'c', 24, 4, 0xffffffff, "entry r/a: its zip64 sizes are missing"},
        {'c', 42, 4, 1, "entry r/a: no local header where the directory says"},
        {'c', 42, 4, 0xfffffff0, "entry r/a: no local header where the directory says"},
        {'d', 42, 4, 0, "entry r/b: its local header has another name"},
        {'l', 0, 4, 0, "entry r/a: no local header"},
        {'l', 8, 2, 8, "entry r/a: its local header says that it is compressed"},
        {'l', 6, 2, 1, "entry r/a: its local header says that it is encrypted"},
        {'l', 22, 4, 4, "entry r/a: its local header has another size"},
        {'m', 28, 2, 0xffff, "entry r/b: its bytes pass the start of the directory"},
        {'l', 28, 2, 20, "entry r/b: it overlaps the entry before it"},
    };
    static const struct damage wide[] = {
        {'6', 0, 4, 0, "its zip64 end record is not where its locator says"},
        {'k', 8, 8, UINT64_MAX, "its zip64 end record is not where its locator says"},
        {'k', 16, 4, 2, "split over several files"},
        {'6', 32, 8, UINT64_MAX, "too small for its number of entries"},
        {'6', 40, 8, UINT64_MAX, "its directory does not end at its end record"},
        {'6', 48, 8, UINT64_MAX, "its directory does not end at its end record"},
        {'c', 51, 2, 200, "entry r/a: its zip64 sizes are missing or damaged"},
        {'c', 51, 2, 16, "entry r/a: its zip64 sizes are missing or damaged"},
        {'c', 49, 2, 2, "entry r/a: its zip64 sizes are missing or damaged"},
        {'c', 53, 8, UINT64_MAX, "entry r/a: stored with two different sizes"},
        {'c', 69, 8, UINT64_MAX, "entry r/a: no local header"},
    };
    check_damage(rows, PQ_LEN(rows), false);
    check_damage(wide, PQ_LEN(wide), true);
}

static void zip_twins(void **state)
{
    (void)state;
    struct zip_at at;
    struct pq_buf b = make_zip(&at, false);
    b.data[at.local[1] + LOCAL + 2] = 'a';
    b.data[at.central[1] + CENTRAL + 2] = 'a';
    refused(parse_zip, &b, "entry r/a: it is there twice");
    pq_buf_free(&b);
}

static void zip_comment(void **state)
{
    (void)state;
    struct zip_at at;
    struct pq_err e;
    struct pq_buf b = make_zip(&at, false);
    pq_put_le16(b.data + at.end + 20, 7);
    pq_buf_puts(&b, "PK\5\6 hi");
    assert_int_equal(parse_copy(parse_zip, b.data, b.len, &e), PQ_OK);
    pq_buf_free(&b);
}

/* pickle */

static int parse_pickle(const uint8_t *data, size_t n, struct pq_err *e)
{
    struct pq_arena a = {0};
    struct pq_pickle p;
    int rc = pq_pickle_state(&p, &a, data, n, "m.bin", e);
    for (size_t i = 0; rc >= 0 && i < p.n; i++)
        assert_true(p.tensor[i].at + p.tensor[i].size <= p.tensor[i].storage_size);
    pq_arena_free(&a);
    return rc;
}

#define PROTO "\x80\x02"
#define STORAGE(type, n)                    \
    "(X\7\0\0\0storagec" type "\nX\1\0\0\0" \
    "0X\3\0\0\0cpu" n "tQ"
#define V2 "ctorch._utils\n_rebuild_tensor_v2\n"
#define HOOKS "ccollections\nOrderedDict\n)R"
#define NAMED "}X\1\0\0\0w"
/* A float tensor [2, 3] at the start of a storage of six. */
#define TENSOR V2 "(" STORAGE("torch\nFloatStorage", "K\6") "K\0K\2K\3\x86K\3K\1\x86\x89" HOOKS "tR"

#define BYTES(s) s, sizeof(s) - 1

static void pickle_reading(void **state)
{
    (void)state;
    static const char v3[] = "ctorch._utils\n_rebuild_tensor_v3\n(" STORAGE(
        "torch.storage\nUntypedStorage", "K\x10") "K\4K\3\x85K\1\x85\x89" HOOKS
                                                  "ctorch\nfloat8_e4m3fn\ntR";
    struct pq_arena a = {0};
    struct pq_err e = {0};
    struct pq_pickle p;
    struct pq_buf b = {0};
    pq_buf_put(&b, BYTES(PROTO "}q\0(X\1\0\0\0w" TENSOR "q\1X\1\0\0\0v"));
    pq_buf_put(&b, v3, sizeof v3 - 1);
    pq_buf_put(&b, BYTES("X\1\0\0\0th\1X\1\0\0\0p"
                         "ctorch._utils\n_rebuild_parameter\n(h\1\x88" HOOKS "tRu."));
    assert_int_equal(pq_pickle_state(&p, &a, b.data, b.len, "m.bin", &e), PQ_OK);
    assert_int_equal(p.n, 4);
    assert_string_equal(p.tensor[0].name, "w");
    assert_string_equal(p.tensor[0].storage, "0");
    assert_int_equal(p.tensor[0].dtype, PQ_F32);
    assert_int_equal(p.tensor[0].n_dims, 2);
    assert_int_equal(p.tensor[0].dim[0], 2);
    assert_int_equal(p.tensor[0].dim[1], 3);
    assert_int_equal(p.tensor[0].size, 24);
    assert_string_equal(p.tensor[1].name, "v");
    assert_int_equal(p.tensor[1].dtype, PQ_F8_E4M3);
    assert_int_equal(p.tensor[1].at, 4);
    assert_int_equal(p.tensor[1].size, 3);
    assert_int_equal(p.tensor[1].storage_size, 16);
    assert_string_equal(p.tensor[2].name, "t");
    assert_string_equal(p.tensor[3].name, "p");
    assert_int_equal(p.tensor[3].size, 24);
    pq_arena_free(&a);
    cut_anywhere_fails(parse_pickle, &b);
    any_byte_may_change(parse_pickle, &b);
    memory_may_run_out(parse_pickle, &b);
    pq_buf_free(&b);
}

static void pickle_forbidden(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } rows[] = {
        {BYTES(PROTO "cos\nsystem\nX\2\0\0\0ls\x85R."), "m.bin: its pickle asks for os.system"},
        {BYTES(PROTO "cposix\nsystem\n."), "asks for posix.system"},
        {BYTES(PROTO "c__builtin__\neval\n."), "asks for __builtin__.eval"},
        {BYTES(PROTO "ctorch.storage\n_load_from_bytes\n."), "torch.storage._load_from_bytes"},
        {BYTES(PROTO "ctorch\nload\n."), "asks for torch.load"},
        {BYTES("\x80\4\x8c\2os\x8c\6system\x93\x8c\2ls\x85R."), "asks for os.system"},
        {BYTES("\x80\4\x8c\x0b"
               "collections\x8c\7Counter\x93."),
         "asks for collections.Counter"},
        {BYTES(PROTO "(ios\nsystem\n."), "opcode 0x69"},                   /* INST */
        {BYTES(PROTO "ccollections\nOrderedDict\n)\x81."), "opcode 0x81"}, /* NEWOBJ */
        {BYTES(PROTO "\x82\1."), "pickle byte 2: opcode 0x82, which no state dict needs"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        pq_buf_put(&b, rows[i].bytes, rows[i].n);
        refused(parse_pickle, &b, rows[i].words);
        pq_buf_free(&b);
    }
}

static void pickle_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *words;
    } rows[] = {
        {BYTES(""), "m.bin: pickle byte 0: cut short"},
        {BYTES("\x80\1."), "pickle protocol 1, protocols 2 to 5"},
        {BYTES("\x80\6."), "pickle protocol 6"},
        {BYTES(PROTO "."), "pickle byte 3: ends in the middle of a value"},
        {BYTES(PROTO "}}."), "ends in the middle of a value"},
        {BYTES(PROTO "}(."), "ends in the middle of a value"},
        {BYTES(PROTO "]."), "found a list, expected a dict"},
        {BYTES(PROTO "0"), "takes from an empty stack"},
        {BYTES(PROTO "K\1(0"), "takes from an empty stack"}, /* below the mark */
        {BYTES(PROTO "K\1\x86."), "takes from an empty stack"},
        {BYTES(PROTO "R"), "takes from an empty stack"},
        {BYTES(PROTO "Q"), "takes from an empty stack"},
        {BYTES(PROTO "b"), "takes from an empty stack"},
        {BYTES(PROTO "q\0"), "takes from an empty stack"},
        {BYTES(PROTO "\x94"), "takes from an empty stack"},
        {BYTES(PROTO "s"), "a wrong number of items"},
        {BYTES(PROTO "}Ns"), "takes from an empty stack"},
        {BYTES(PROTO "}(Nu"), "a wrong number of items"},
        {BYTES(PROTO "]NNs"), "found a list, expected a dict"},
        {BYTES(PROTO "}Na"), "found a dict, expected a list"},
        {BYTES(PROTO "t"), "closes a group that was not opened"},
        {BYTES(PROTO "}u"), "closes a group that was not opened"},
        {BYTES(PROTO "h\0"), "a memo number out of range"},
        {BYTES(PROTO "Nq\2h\1"), "a memo number out of range"}, /* a gap */
        {BYTES(PROTO "Nr\xff\xff\xff\xff"), "a memo number out of range"},
        {BYTES(PROTO "j\xff\xff\xff\xff"), "a memo number out of range"},
        {BYTES(PROTO "X\xff\xff\xff\xff"
                     "abc"),
         "cut short"},
        {BYTES(PROTO "\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), "cut short"},
        {BYTES(PROTO "X\1\0\0\0\0"), "a string with a NUL byte"},
        {BYTES(PROTO "ccollections"), "cut short"},
        {BYTES(PROTO "\x8a\x09xxxxxxxxx"), "an integer of more than 64 bits"},
        {BYTES(PROTO "NN\x93"), "found None, expected a str"},
        {BYTES(PROTO "NNR"), "found None, expected a tuple"},
        {BYTES(PROTO "N)R"), "found None, expected a name"},
        {BYTES(PROTO "NNb"), "found None, expected a dict"},
        {BYTES(PROTO "ccollections\nOrderedDict\nN\x85R"),
         "collections.OrderedDict with 1 arguments"},
        {BYTES(PROTO "ctorch\nFloatStorage\n)R"), "calls torch.FloatStorage, which is a type"},
        {BYTES(PROTO V2 ")R"), "torch._utils._rebuild_tensor_v2 with 0 arguments"},
        {BYTES(PROTO V2 "(NNNNNNtR"), "a tensor without a storage"},
        {BYTES(PROTO "ctorch._utils\n_rebuild_parameter\nNNN\x87R"),
         "a parameter without a tensor"},
        {BYTES(PROTO "NQ"), "a persistent id that is no"},
        {BYTES(PROTO "(NNNNNtQ"), "a persistent id that is no"},
        {BYTES(PROTO STORAGE("collections\nOrderedDict", "K\1")), "a persistent id that is no"},
        {BYTES(PROTO STORAGE("torch\nFloatStorage", "J\xff\xff\xff\xff")), "a persistent id that"},
        {BYTES(PROTO STORAGE("torch\nFloatStorage", "\x8a\x08\0\0\0\0\0\0\0\x40")),
         "a storage whose size overflows"},
        {BYTES(PROTO "}NNs."), "m.bin: a tensor's name is None, expected a str"},
        {BYTES(PROTO NAMED "}s."), "m.bin: w is a dict, expected a tensor (a training checkpoint?"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_buf b = {0};
        pq_buf_put(&b, rows[i].bytes, rows[i].n);
        refused(parse_pickle, &b, rows[i].words);
        any_byte_may_change(parse_pickle, &b);
        pq_buf_free(&b);
    }
}

/* A tensor named w of a storage of six floats, with this offset, shape and stride. */
#define SHAPED(offset, shape, stride)                                                  \
    BYTES(PROTO NAMED V2 "(" STORAGE("torch\nFloatStorage", "K\6") offset shape stride \
          "\x89" HOOKS "tRs.")
#define HUGE_INT "\x8a\x08\0\0\0\0\0\0\0\x40" /* 2^62 */

static void pickle_shapes(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *words; /* NULL: accepted */
    } rows[] = {
        {SHAPED("K\0", "K\2K\3\x86", "K\3K\1\x86"), NULL},
        {SHAPED("K\0", "K\1K\6\x86", "K\x63K\1\x86"), NULL}, /* the stride of one row is moot */
        {SHAPED("K\5", ")", ")"), NULL},
        {SHAPED("K\6", "K\0K\3\x86", "K\7K\7\x86"), NULL},
        {SHAPED("K\0", "K\3K\2\x86", "K\1K\3\x86"), "m.bin: tensor w is not contiguous"},
        {SHAPED("K\0", "K\3\x85", "K\2\x85"), "m.bin: tensor w is not contiguous"},
        {SHAPED("K\0", "K\3\x85", "K\0\x85"), "m.bin: tensor w is not contiguous"},
        {SHAPED("K\1", "K\6\x85", "K\1\x85"), "a tensor passes the end of storage 0, which has 24"},
        {SHAPED("K\0", "K\7\x85", "K\1\x85"), "a tensor passes the end of storage 0"},
        {SHAPED("J\xff\xff\xff\xff", "K\1\x85", "K\1\x85"), "a tensor passes the end of storage 0"},
        {SHAPED(HUGE_INT, "K\1\x85", "K\1\x85"), "a tensor passes the end of storage 0"},
        {SHAPED("K\0", HUGE_INT "\x85", "K\1\x85"), "a tensor whose size overflows"},
        {SHAPED("K\0", HUGE_INT "K\4\x86", "K\4K\1\x86"), "a tensor whose shape overflows"},
        {SHAPED("K\0", "K\1\x85", "K\1K\1\x86"), "not tuples of one length"},
        {SHAPED("K\0", "N", "N"), "not tuples of one length"},
        {SHAPED("K\0", "N\x85", "K\1\x85"), "something else than sizes"},
        {SHAPED("K\0", "K\1\x85", "J\xff\xff\xff\xff\x85"), "something else than sizes"},
        {SHAPED("K\0", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t", "(K\1K\1K\1K\1K\1K\1K\1K\1K\1t"),
         "more than 8 dimensions"},
    };
    for (size_t i = 0; i < PQ_LEN(rows); i++) {
        struct pq_err e;
        struct pq_buf b = {0};
        pq_buf_put(&b, rows[i].bytes, rows[i].n);
        if (rows[i].words)
            refused(parse_pickle, &b, rows[i].words);
        else
            assert_int_equal(parse_copy(parse_pickle, b.data, b.len, &e), PQ_OK);
        pq_buf_free(&b);
    }
}

/* A list inside a list, a hundred thousand times: no recursion may follow it. */
static void pickle_deep(void **state)
{
    (void)state;
    struct pq_buf b = {0};
    pq_buf_puts(&b, PROTO "}X");
    pq_buf_le32(&b, 1);
    pq_buf_puts(&b, "w");
    for (int i = 0; i < 100000; i++)
        pq_buf_puts(&b, "]");
    for (int i = 0; i < 99999; i++)
        pq_buf_puts(&b, "a");
    pq_buf_puts(&b, "s.");
    refused(parse_pickle, &b, "w is a list, expected a tensor");
    pq_buf_free(&b);
}

static void real_files(void **state)
{
    (void)state;
    static const char *const names[] = {"single/pytorch_model.bin", "protocol4.bin"};
    for (size_t i = 0; i < PQ_LEN(names); i++) {
        char path[512];
        struct pq_buf b = {0};
        struct pq_err e = {0};
        struct pq_map m;
        snprintf(path, sizeof path, "%s/torch/%s", PQ_TEST_DATA, names[i]);
        assert_int_equal(pq_map_open(&m, path, &e), PQ_OK);
        pq_buf_put(&b, m.data, (size_t)m.size);
        cut_anywhere_fails(parse_zip, &b);
        memory_may_run_out(parse_zip, &b);
        struct pq_arena a = {0};
        struct pq_zip z;
        assert_int_equal(pq_zip_parse(&z, &a, m.data, m.size, "m.bin", &e), PQ_OK);
        const struct pq_zip_entry *t =
            pq_zip_find(&z, i ? "protocol4/data.pkl" : "pytorch_model/data.pkl");
        assert_non_null(t);
        b.len = 0;
        pq_buf_put(&b, m.data + t->at, (size_t)t->size);
        cut_anywhere_fails(parse_pickle, &b);
        any_byte_may_change(parse_pickle, &b);
        memory_may_run_out(parse_pickle, &b);
        pq_arena_free(&a);
        pq_buf_free(&b);
        pq_map_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zip_reading),     cmocka_unit_test(zip_refusals),
        cmocka_unit_test(zip_twins),       cmocka_unit_test(zip_comment),
        cmocka_unit_test(pickle_reading),  cmocka_unit_test(pickle_forbidden),
        cmocka_unit_test(pickle_refusals), cmocka_unit_test(pickle_shapes),
        cmocka_unit_test(pickle_deep),     cmocka_unit_test(real_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
