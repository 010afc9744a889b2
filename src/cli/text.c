/* Numbers and tables for people. SPDX-License-Identifier: MIT */
#include "base/num.h"
#include "cli/cli.h"

#include <stdarg.h>
#include <stdio.h>

const char *pq_text_bytes(double n, char buf[32])
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB"};
    size_t u = 0;
    for (; n >= 999.5 && u + 1 < PQ_LEN(unit); u++)
        n /= 1000;
    snprintf(buf, 32, u == 0 || n >= 100 ? "%.0f %s" : n >= 10 ? "%.1f %s" : "%.2f %s", n, unit[u]);
    return buf;
}

const char *pq_text_seconds(double s, char buf[32])
{
    if (s < 60)
        snprintf(buf, 32, s < 10 ? "%.2f s" : "%.0f s", s);
    else
        snprintf(buf, 32, "%.0f min %02.0f s", (double)(int)(s / 60), s - 60 * (int)(s / 60));
    return buf;
}

const char *pq_text_targets(char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = '\0';
    for (size_t i = 0; pq_containers[i]; i++)
        if (pq_containers[i]->plan && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? "," : "", pq_containers[i]->name);
    return buf;
}

void pq_table_begin(struct pq_table *t, const char *align)
{
    *t = (struct pq_table){.align = align, .cols = strlen(align)};
}

void pq_table_cell(struct pq_table *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        size_t *p = (size_t *)pq_realloc(t->cell, cap, sizeof *p);
        if (!p) {
            t->text.failed = true;
            return;
        }
        t->cell = p;
        t->cap = cap;
    }
    t->cell[t->n++] = t->text.len;
    pq_buf_put(&t->text, text, strlen(text) + 1);
}

/* Columns on the screen: UTF-8 continuation bytes take none. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static size_t column_width(const struct pq_table *t, size_t col)
{
    size_t w = 0;
    for (size_t i = col; i < t->n; i += t->cols) {
        size_t n = width((const char *)t->text.data + t->cell[i]);
        w = n > w ? n : w;
    }
    return w;
}

int pq_table_print(struct pq_table *t, struct pq_err *e)
{
    int rc = pq_buf_check(&t->text, e);
    for (size_t i = 0; rc >= 0 && i < t->n; i++) {
        const char *s = (const char *)t->text.data + t->cell[i];
        size_t col = i % t->cols, pad = column_width(t, col) - width(s);
        bool last = col + 1 == t->cols;
        if (t->align[col] == 'r')
            printf("%*s%s%s", (int)pad, "", s, last ? "\n" : "  ");
        else
            printf("%s%*s%s", s, last ? 0 : (int)pad, "", last ? "\n" : "  ");
    }
    pq_free(t->cell);
    pq_buf_free(&t->text);
    return rc;
}

int pq_print_json(json_t *doc, struct pq_err *e)
{
    int rc = doc && json_dumpf(doc, stdout, JSON_INDENT(2)) == 0
                 ? PQ_OK
                 : pq_fail(e, PQ_EIO, "cannot write the JSON result");
    putchar('\n');
    json_decref(doc);
    return rc;
}
