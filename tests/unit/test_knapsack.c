/* The knapsack against all picks there are. SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/num.h"
#include "convert/knapsack.h"

#include <math.h>

enum { ITEMS = 5, OPTIONS = 4 };

static uint32_t next_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Sizes are multiples of `unit`, up to `most` of them. */
static void random_items(uint32_t *seed, uint64_t unit, uint32_t most,
                         struct pq_option option[ITEMS][OPTIONS], struct pq_item_options *item)
{
    for (size_t i = 0; i < ITEMS; i++) {
        item[i] = (struct pq_item_options){option[i], 1 + next_number(seed) % OPTIONS};
        for (size_t o = 0; o < OPTIONS; o++)
            option[i][o] = (struct pq_option){(1 + next_number(seed) % most) * unit,
                                              (double)(next_number(seed) % 1000) / 1000};
    }
}

/* Of all picks: the least loss within these bytes, the fewest bytes within this loss. */
static struct pq_option all_picks(const struct pq_knapsack *k, uint64_t bytes, double loss)
{
    struct pq_option best = {UINT64_MAX, INFINITY};
    uint8_t pick[ITEMS] = {0};
    for (size_t i = 0; i < k->n;) {
        const struct pq_option sum = pq_knapsack_sum(k, pick);
        if (sum.bytes <= bytes && sum.loss < best.loss)
            best.loss = sum.loss;
        if (sum.loss <= loss && sum.bytes < best.bytes)
            best.bytes = sum.bytes;
        for (i = 0; i < k->n && ++pick[i] == k->item[i].n; i++)
            pick[i] = 0;
    }
    return best;
}

static void is_best(const struct pq_knapsack *k, uint64_t bytes, uint64_t slack)
{
    struct pq_err e = {0};
    uint8_t pick[ITEMS];
    assert_return_code(pq_knapsack_within_bytes(k, bytes, pick, &e), 0);
    const struct pq_option found = pq_knapsack_sum(k, pick);
    assert_true(found.bytes <= bytes);
    assert_true(found.loss >= all_picks(k, bytes, 0).loss - 1e-12);
    if (bytes - slack >= pq_knapsack_fewest(k)) /* what rounding of sizes may cost */
        assert_true(found.loss <= all_picks(k, bytes - slack, 0).loss + 1e-12);
    const double loss = found.loss + 1e-9;
    assert_return_code(pq_knapsack_within_loss(k, loss, pick, &e), 0);
    const struct pq_option fewer = pq_knapsack_sum(k, pick);
    assert_true(fewer.loss <= loss);
    assert_true(fewer.bytes >= all_picks(k, bytes, loss).bytes);
    assert_true(fewer.bytes <= all_picks(k, bytes, loss).bytes + slack);
}

static void knapsack_is_best_of_all_picks(void **state)
{
    /* The last one's sizes have no common unit, and are too large for a cell each. */
    static const struct {
        uint64_t unit;
        uint32_t most;
        uint64_t slack;
    } rows[] = {{1, 20, 0},
                {4096, 30, 0},
                {1, 1000, 0},
                {7919, 60000, ITEMS * 7919},
                {1, 8000000, ITEMS * 700}};
    uint32_t seed = 7;
    (void)state;
    for (size_t r = 0; r < PQ_LEN(rows); r++)
        for (int round = 0; round < 5; round++) {
            struct pq_option option[ITEMS][OPTIONS];
            struct pq_item_options item[ITEMS];
            random_items(&seed, rows[r].unit, rows[r].most, option, item);
            const struct pq_knapsack k = {item, ITEMS};
            const uint64_t fewest = pq_knapsack_fewest(&k), most = pq_knapsack_most(&k);
            for (int c = 0; c <= 4; c++)
                is_best(&k, fewest + (most - fewest) * (uint64_t)c / 4, rows[r].slack);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knapsack_is_best_of_all_picks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
