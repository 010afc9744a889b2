/* Threads, time and the terminal. SPDX-License-Identifier: MIT */
#ifndef PQ_BASE_SYS_H
#define PQ_BASE_SYS_H

#include "base/err.h"
#include <stdbool.h>

int pq_cpu_count(void); /* CPUs that this process may use, at least 1 */

/* Runs fn(ctx, worker) on n threads (the caller is worker 0) and joins them. If the system refuses
 * a thread, the others do its work: fn must take its share from a common counter. */
void pq_parallel(int n, void (*fn)(void *ctx, int worker), void *ctx);

double pq_now(void);        /* monotonic seconds */
uint64_t pq_peak_rss(void); /* bytes, 0 when unknown */
bool pq_is_terminal(int fd);

/* Calls on_signal (async-signal-safe work only) at the first SIGINT or SIGTERM. */
void pq_on_interrupt(void (*on_signal)(int));

#endif
