/* Multiple-choice knapsack by dynamic programming. SPDX-License-Identifier: MIT */
#include "convert/knapsack.h"

#include "base/mem.h"
#include "base/num.h"

#include <math.h>

enum { MAX_CELLS = 1 << 16 };

/* What an option takes beyond the smallest of its item. */
static uint64_t smallest(const struct pq_item_options *it)
{
    uint64_t least = UINT64_MAX;
    for (size_t o = 0; o < it->n; o++)
        least = it->option[o].bytes < least ? it->option[o].bytes : least;
    return least;
}

struct pq_option pq_knapsack_sum(const struct pq_knapsack *k, const uint8_t *pick)
{
    struct pq_option sum = {0, 0};
    for (size_t i = 0; i < k->n; i++) {
        sum.bytes += k->item[i].option[pick[i]].bytes;
        sum.loss += k->item[i].option[pick[i]].loss;
    }
    return sum;
}

uint64_t pq_knapsack_fewest(const struct pq_knapsack *k)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < k->n; i++)
        sum += smallest(&k->item[i]);
    return sum;
}

uint64_t pq_knapsack_most(const struct pq_knapsack *k)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < k->n; i++) {
        uint64_t most = 0;
        for (size_t o = 0; o < k->item[i].n; o++)
            most = k->item[i].option[o].bytes > most ? k->item[i].option[o].bytes : most;
        sum += most;
    }
    return sum;
}

double pq_knapsack_least_loss(const struct pq_knapsack *k)
{
    double sum = 0;
    for (size_t i = 0; i < k->n; i++) {
        double least = INFINITY;
        for (size_t o = 0; o < k->item[i].n; o++)
            least = fmin(least, k->item[i].option[o].loss);
        sum += least;
    }
    return sum;
}

/* ---- the table ---- */

/* Cell c stands for c units beyond the smallest options of all items. */
struct table {
    const struct pq_knapsack *k;
    uint64_t unit, cells;
    double *best, *next; /* [cells]: least loss of the items so far within c units */
    uint8_t *pick;       /* [n][cells] */
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The largest unit that all sizes are multiples of, or one so large that the table is not. */
static uint64_t unit_of(const struct pq_knapsack *k, uint64_t room)
{
    uint64_t unit = 0;
    for (size_t i = 0; i < k->n; i++)
        for (size_t o = 0; o < k->item[i].n; o++)
            unit = gcd(unit, k->item[i].option[o].bytes - smallest(&k->item[i]));
    const uint64_t coarse = pq_ceil_div(room + 1, MAX_CELLS);
    return unit > coarse ? unit : coarse;
}

static void add_item(struct table *t, size_t i)
{
    const struct pq_item_options *it = &t->k->item[i];
    const uint64_t least = smallest(it);
    uint8_t *pick = t->pick + i * t->cells;
    for (uint64_t c = 0; c < t->cells; c++)
        t->next[c] = INFINITY;
    for (size_t o = 0; o < it->n; o++) {
        const uint64_t units = pq_ceil_div(it->option[o].bytes - least, t->unit);
        for (uint64_t c = units; c < t->cells; c++) {
            const double loss = t->best[c - units] + it->option[o].loss;
            if (loss < t->next[c]) {
                t->next[c] = loss;
                pick[c] = (uint8_t)o;
            }
        }
    }
    double *swap = t->best;
    t->best = t->next;
    t->next = swap;
}

/* `spare` more cells make up for what rounding adds to sizes. */
static int table_fill(struct table *t, const struct pq_knapsack *k, uint64_t room, size_t spare,
                      struct pq_err *e)
{
    *t = (struct table){.k = k, .unit = unit_of(k, room)};
    t->cells = room / t->unit + 1 + spare;
    t->best = (double *)pq_calloc((size_t)t->cells, sizeof *t->best);
    t->next = (double *)pq_calloc((size_t)t->cells, sizeof *t->next);
    t->pick = (uint8_t *)pq_calloc(k->n, (size_t)t->cells);
    if (!t->best || !t->next || !t->pick)
        return pq_fail(e, PQ_ENOMEM, "out of memory while choosing schemes");
    for (size_t i = 0; i < k->n; i++)
        add_item(t, i);
    return PQ_OK;
}

static void table_free(struct table *t)
{
    pq_free(t->best);
    pq_free(t->next);
    pq_free(t->pick);
}

/* The picks that lead to cell c. */
static void trace(const struct table *t, uint64_t c, uint8_t *pick)
{
    for (size_t i = t->k->n; i-- > 0;) {
        const struct pq_item_options *it = &t->k->item[i];
        pick[i] = t->pick[i * t->cells + c];
        c -= pq_ceil_div(it->option[pick[i]].bytes - smallest(it), t->unit);
    }
}

/* The first cell whose loss is not above this. */
static uint64_t first_within(const struct table *t, double loss)
{
    uint64_t c = 0;
    while (c + 1 < t->cells && t->best[c] > loss)
        c++;
    return c;
}

int pq_knapsack_within_bytes(const struct pq_knapsack *k, uint64_t bytes, uint8_t *pick,
                             struct pq_err *e)
{
    struct table t;
    int rc = table_fill(&t, k, bytes - pq_knapsack_fewest(k), 0, e);
    if (rc >= 0)
        trace(&t, first_within(&t, t.best[t.cells - 1]), pick);
    table_free(&t);
    return rc;
}

/* The pick of the first cell within `loss`, over sizes up to `room`. Sums may round differently in
 * another order: the last cell holds the least loss there is. */
static int pick_within_loss(const struct pq_knapsack *k, uint64_t room, double loss, uint8_t *pick,
                            struct pq_err *e)
{
    struct table t;
    int rc = table_fill(&t, k, room, k->n, e);
    if (rc >= 0)
        trace(&t, first_within(&t, fmax(loss, t.best[t.cells - 1])), pick);
    table_free(&t);
    return rc;
}

/* Each round knows a pick with fewer bytes than the one before, and so affords a finer unit. */
int pq_knapsack_within_loss(const struct pq_knapsack *k, double loss, uint8_t *pick,
                            struct pq_err *e)
{
    const uint64_t fewest = pq_knapsack_fewest(k);
    uint64_t bytes = pq_knapsack_most(k);
    uint8_t *trial = (uint8_t *)pq_calloc(k->n, 1);
    int rc = trial ? PQ_OK : pq_fail(e, PQ_ENOMEM, "out of memory while choosing schemes");
    for (bool better = true, first = true; rc >= 0 && better; first = false) {
        rc = pick_within_loss(k, bytes - fewest, loss, trial, e);
        const uint64_t found = pq_knapsack_sum(k, trial).bytes;
        better = found < bytes || first;
        if (better)
            memcpy(pick, trial, k->n);
        bytes = better ? found : bytes;
    }
    pq_free(trial);
    return rc;
}
