/* A progress bar on a terminal, plain lines elsewhere; and Ctrl-C. SPDX-License-Identifier: MIT */
#include "base/sys.h"
#include "cli/cli.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t interrupted; /* a signal handler can reach nothing else */

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

void pq_interrupt_watch(void)
{
    interrupted = 0;
    pq_on_interrupt(on_signal);
}

bool pq_interrupted(void)
{
    return interrupted != 0;
}

void pq_bar_begin(struct pq_bar *b, bool quiet)
{
    *b = (struct pq_bar){.terminal = pq_is_terminal(2), .quiet = quiet, .last_line = pq_now()};
    pq_interrupt_watch();
}

static void draw(struct pq_bar *b, const struct pq_progress *p, double share)
{
    enum { WIDTH = 24 };
    char left[32], bar[WIDTH + 1];
    double rate = p->seconds > 0 ? (double)p->done / p->seconds : 0;
    for (int i = 0; i < WIDTH; i++)
        bar[i] = (double)i < share * WIDTH ? '#' : '.';
    bar[WIDTH] = '\0';
    double rest = rate > 0 ? (double)(p->total - p->done) / rate : 0;
    bool bytes = !strcmp(p->stage, "write"); /* other stages count tensors or windows */
    fprintf(stderr, "\r%-6s [%s] %3.0f %%", p->stage, bar, 100 * share);
    if (bytes)
        fprintf(stderr, "  %.2f GB/s", rate / 1e9);
    fprintf(stderr, "  %s left  %-44.44s\033[K", pq_text_seconds(rest, left), p->tensor);
    b->drawn = true;
}

int pq_bar_step(void *bar, const struct pq_progress *p)
{
    struct pq_bar *b = (struct pq_bar *)bar;
    double share = p->total ? (double)p->done / (double)p->total : 1, now = pq_now();
    if (b->quiet)
        return interrupted;
    if (b->terminal) {
        draw(b, p, share);
    } else if (now - b->last_line > 5) { /* short runs say nothing */
        fprintf(stderr, "%s: %.0f %% %s\n", p->stage, 100 * share, p->tensor);
        b->last_line = now;
    }
    return interrupted;
}

void pq_bar_end(struct pq_bar *b)
{
    if (b->drawn)
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
}
