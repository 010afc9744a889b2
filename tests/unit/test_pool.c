/* The pool of threads: every item once, in any number of rounds. (Not among what runs in emulation,
 * where threads do not start.) SPDX-License-Identifier: MIT */
#include "test.h"

#include "base/pool.h"

#include <stdatomic.h>
#include <string.h>

enum { ITEMS = 97 };

static void count_item(void *ctx, uint64_t item, int worker)
{
    atomic_int *taken = (atomic_int *)ctx;
    assert_true(worker >= 0 && worker < 4);
    atomic_fetch_add(&taken[item], 1);
}

/* Every item of every round once, whether workers spin or sleep in between. */
static void pool(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        static atomic_int taken[ITEMS];
        struct pq_pool *p = NULL;
        struct pq_err e = {0};
        memset(taken, 0, sizeof taken);
        assert_int_equal(pq_pool_new(&p, threads, &e), PQ_OK);
        assert_int_equal(pq_pool_threads(p), threads);
        for (int round = 1; round <= 300; round++) {
            for (volatile int pause = 0; round % 100 == 0 && pause < 3000000; pause++)
                ;
            pq_pool_each(p, (uint64_t)(round % ITEMS), count_item, taken);
        }
        for (int i = 0, want; i < ITEMS; i++) {
            want = 0;
            for (int round = 1; round <= 300; round++)
                want += round % ITEMS > i;
            assert_int_equal(atomic_load(&taken[i]), want);
        }
        pq_pool_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pool)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
