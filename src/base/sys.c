/* SPDX-License-Identifier: MIT */
#include "base/sys.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int pq_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        return n > 0 ? n : 1;
    }
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

enum { MAX_THREADS = 256 };

struct share {
    void (*fn)(void *ctx, int worker);
    void *ctx;
    int worker;
};

static void *run(void *arg)
{
    const struct share *s = (const struct share *)arg;
    s->fn(s->ctx, s->worker);
    return NULL;
}

void pq_parallel(int n, void (*fn)(void *ctx, int worker), void *ctx)
{
    pthread_t thread[MAX_THREADS];
    struct share share[MAX_THREADS];
    if (n > MAX_THREADS)
        n = MAX_THREADS;
    int started = 1;
    for (; started < n; started++) {
        share[started] = (struct share){fn, ctx, started};
        if (pthread_create(&thread[started], NULL, run, &share[started]))
            break;
    }
    fn(ctx, 0);
    while (--started > 0)
        pthread_join(thread[started], NULL);
}

double pq_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

uint64_t pq_peak_rss(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (uint64_t)u.ru_maxrss * 1024;
}

bool pq_is_terminal(int fd)
{
    return isatty(fd) == 1;
}

void pq_on_interrupt(void (*on_signal)(int))
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}
