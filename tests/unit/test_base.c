/* base/: half floats exhaustively, arena, buffer, checksum. SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"

#include <math.h>

/* Nearest neighbour by brute force over the whole table: the definition itself. */
static void check_f16(float x)
{
    uint16_t got = pq_f32_to_f16(x);
    float y = pq_f16_to_f32(got), err = fabsf(y - x);
    for (int d = -1; d <= 1; d += 2) {
        uint16_t other = (uint16_t)(got + d);
        if ((other & 0x7fff) >= 0x7c00 || (got & 0x7fff) == 0)
            continue;
        float e = fabsf(pq_f16_to_f32(other) - x);
        assert_true(err < e || (err == e && !(got & 1)));
    }
}

static void half_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float x = pq_f16_to_f32((uint16_t)h);
        if (isnan(x))
            assert_true(isnan(pq_f16_to_f32(pq_f32_to_f16(x))));
        else
            assert_int_equal(pq_f32_to_f16(x), h);
        float b = pq_bf16_to_f32((uint16_t)h);
        if (!isnan(b))
            assert_int_equal(pq_f32_to_bf16(b), h);
    }
    uint32_t s = 1;
    for (int i = 0; i < 200000; i++) {
        s = s * 1664525u + 1013904223u;
        check_f16(ldexpf((float)(int32_t)s, -(int)(s >> 27) - 20));
    }
    assert_int_equal(pq_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(pq_f32_to_f16(65520.0f), 0x7c00);
}

static void float8(void **state)
{
    (void)state;
    for (uint32_t v = 0; v < 256; v++) {
        float x = pq_e4m3_to_f32((uint8_t)v);
        if (isnan(x)) {
            assert_int_equal(v & 0x7f, 0x7f);
            continue;
        }
        assert_int_equal(pq_f32_to_e4m3(x), v);
        if ((v & 0x7f) < 0x7e) { /* just below and above the midpoint to the next value */
            float next = pq_e4m3_to_f32((uint8_t)(v + 1)), mid = (x + next) / 2;
            assert_int_equal(pq_f32_to_e4m3(nextafterf(mid, x)), v);
            assert_int_equal(pq_f32_to_e4m3(nextafterf(mid, next)), v + 1);
            assert_int_equal(pq_f32_to_e4m3(mid), v + (v & 1));
        }
    }
    assert_int_equal(pq_f32_to_e4m3(1e9f), 0x7e);
    assert_true(pq_e4m3_to_f32(0x7e) == 448.0f);
    assert_true(pq_e8m0_to_f32(127) == 1.0f && pq_e8m0_to_f32(0) == 0x1p-127f);
}

static void arena_and_buffer(void **state)
{
    (void)state;
    struct pq_arena a = {0};
    for (size_t i = 0; i < 3000; i++) {
        char *p = (char *)pq_arena_alloc(&a, i, 3);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t j = 0; j < 3 * i; j++)
            assert_int_equal(p[j], 0);
        memset(p, 0xff, 3 * i);
    }
    assert_null(pq_arena_alloc(&a, SIZE_MAX / 2, 3));
    assert_string_equal(pq_arena_printf(&a, "%d-%s", 7, "x"), "7-x");
    pq_arena_free(&a);

    struct pq_buf b = {0};
    pq_buf_printf(&b, "%s", "abc");
    pq_buf_le64(&b, 0x0102030405060708u);
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "abc\10\7\6\5\4\3\2\1", 11);
    pq_mem_fail_after(1, false);
    pq_buf_zero(&b, 100000);
    pq_mem_fail_after(0, false);
    struct pq_err e = {0};
    assert_int_equal(pq_buf_check(&b, &e), PQ_ENOMEM);
    pq_buf_free(&b);
}

static void checksum(void **state)
{
    (void)state;
    uint8_t d[100] = {0};
    uint64_t h = pq_hash(d, 100, 0);
    for (int i = 0; i < 100; i++) { /* any single bit matters */
        d[i] ^= 1;
        assert_true(pq_hash(d, 100, 0) != h);
        d[i] ^= 1;
    }
    assert_true(pq_hash(d, 99, 0) != h && pq_hash(d, 100, 1) != h);
    assert_true(pq_hash("phiq", 4, 0) == pq_hash("phiq", 4, 0));
}

static void errors(void **state)
{
    (void)state;
    struct pq_err e = {0};
    assert_int_equal(pq_fail(&e, PQ_EFORMAT, "tensor %s", "x"), PQ_EFORMAT);
    pq_fail(&e, PQ_EIO, "later");
    assert_string_equal(e.msg, "tensor x");
    assert_int_equal(pq_fail_in(&e, PQ_EIO, "file"), PQ_EFORMAT);
    assert_string_equal(e.msg, "file: tensor x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_round_trip),  cmocka_unit_test(float8),
        cmocka_unit_test(arena_and_buffer), cmocka_unit_test(checksum),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
