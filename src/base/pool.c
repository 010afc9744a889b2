/*
 * Rounds are numbered: a worker waits for a number that it has not seen, takes items from the
 * common counter and reports itself done. The caller takes items too, and leaves when all others
 * are done. SPDX-License-Identifier: MIT
 */
#include "base/pool.h"
#include "base/mem.h"
#include "base/sys.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    MAX_WORKERS = 256,
    SPINS = 4000 /* some ten microseconds: longer than the caller's steps between two rounds */
};

struct worker {
    struct pq_pool *pool;
    pthread_t thread;
    int id;
};

struct pq_pool {
    int n; /* workers, the caller's included */
    struct worker *worker;
    /* The round. */
    void (*fn)(void *ctx, uint64_t item, int worker);
    void *ctx;
    uint64_t n_items;
    char gap0[64]; /* what one thread writes and others poll shares no cache line */
    atomic_ullong next;
    char gap1[64];
    atomic_uint round; /* its number */
    char gap2[64];
    atomic_int busy; /* workers that have not finished it */
    char gap3[64];
    atomic_bool stop;
    atomic_int asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
};

static void relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#endif
}

static void take_items(struct pq_pool *p, int id)
{
    for (uint64_t i; (i = atomic_fetch_add(&p->next, 1)) < p->n_items;)
        p->fn(p->ctx, i, id);
}

static void await_round(struct pq_pool *p, unsigned seen)
{
    for (int i = 0; i < SPINS; i++, relax())
        if (atomic_load(&p->round) != seen)
            return;
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->asleep, 1);
    while (atomic_load(&p->round) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->asleep, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg)
{
    const struct worker *w = (const struct worker *)arg;
    struct pq_pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        await_round(p, seen);
        if (atomic_load(&p->stop))
            return NULL;
        take_items(p, w->id);
        if (atomic_fetch_sub(&p->busy, 1) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

/* A worker looks at the number once more after it has said that it lies down. */
static void begin_round(struct pq_pool *p)
{
    atomic_fetch_add(&p->round, 1);
    if (atomic_load(&p->asleep)) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

static void await_others(struct pq_pool *p)
{
    for (int i = 0; i < SPINS; i++, relax())
        if (!atomic_load(&p->busy))
            return;
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->busy))
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pq_pool_each(struct pq_pool *p, uint64_t n, void (*fn)(void *ctx, uint64_t item, int worker),
                  void *ctx)
{
    if (n < 2 || p->n < 2) {
        for (uint64_t i = 0; i < n; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n_items = n;
    atomic_store(&p->next, 0);
    atomic_store(&p->busy, p->n - 1);
    begin_round(p);
    take_items(p, 0);
    await_others(p);
}

int pq_pool_threads(const struct pq_pool *p)
{
    return p->n;
}

void pq_pool_free(struct pq_pool *p)
{
    if (!p)
        return;
    atomic_store(&p->stop, true);
    begin_round(p);
    for (int i = 1; i < p->n; i++)
        pthread_join(p->worker[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    pq_free(p->worker);
    pq_free(p);
}

int pq_pool_new(struct pq_pool **out, int threads, struct pq_err *e)
{
    int n = threads > 0 ? threads : pq_cpu_count();
    n = n > MAX_WORKERS ? MAX_WORKERS : n;
    *out = NULL;
    struct pq_pool *p = (struct pq_pool *)pq_calloc(1, sizeof *p);
    struct worker *w = (struct worker *)pq_calloc((size_t)n, sizeof *w);
    if (!p || !w) {
        pq_free(p);
        pq_free(w);
        return pq_fail(e, PQ_ENOMEM, "out of memory for %d threads", n);
    }
    p->worker = w;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    for (p->n = 1; p->n < n; p->n++) {
        w[p->n] = (struct worker){.pool = p, .id = p->n};
        if (pthread_create(&w[p->n].thread, NULL, work, &w[p->n]))
            break;
    }
    *out = p;
    return PQ_OK;
}
