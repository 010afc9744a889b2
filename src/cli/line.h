/*
 * Lines that somebody types, with an editor and what was typed before; lines of a file or pipe as
 * they are. SPDX-License-Identifier: MIT
 */
#ifndef PQ_CLI_LINE_H
#define PQ_CLI_LINE_H

#include "base/mem.h"

struct pq_lines;
/* From standard input. The editor is there when that and standard error, on which it draws, are
 * terminals. With `history`, typed lines are kept from one session to the next, in
 * phiq/chat_history of $XDG_STATE_HOME; where that cannot be written, standard error says so. */
int pq_lines_open(struct pq_lines **out, bool history, struct pq_err *e) PQ_MUST_CHECK;
void pq_lines_close(struct pq_lines *l); /* NULL is fine */

enum pq_line {
    PQ_LINE_END,     /* there are no more */
    PQ_LINE_TEXT,    /* appended, without its newline */
    PQ_LINE_DROPPED, /* Ctrl-C: begin anew */
};
/* An enum pq_line, or a negative status. Only a terminal shows the prompt. */
int pq_lines_read(struct pq_lines *l, const char *prompt, struct pq_buf *out,
                  struct pq_err *e) PQ_MUST_CHECK;
bool pq_lines_typed(const struct pq_lines *l); /* is there a terminal? */

#endif
