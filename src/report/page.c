/* The page: the embedded template around the document. SPDX-License-Identifier: MIT */
#include "report/report.h"

#include <string.h>

/* Inside <script> a browser looks for nothing but "</script" and "<!--"; without "<" there is
 * neither. Outside of strings JSON has none of these characters, inside they may be written as
 * escapes. */
static const char *escape(char c)
{
    return c == '<' ? "\\u003c" : c == '>' ? "\\u003e" : c == '&' ? "\\u0026" : NULL;
}

static int put_escaped(const char *text, size_t n, void *buf)
{
    struct pq_buf *b = (struct pq_buf *)buf;
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const char *other = escape(text[i]);
        if (!other)
            continue;
        pq_buf_put(b, text + from, i - from);
        pq_buf_puts(b, other);
        from = i + 1;
    }
    pq_buf_put(b, text + from, n - from);
    return b->failed ? -1 : 0;
}

int pq_report_page(struct pq_buf *html, const json_t *doc, struct pq_err *e)
{
    /* Six digits are more than a page shows; plain ASCII reads the same in every encoding. */
    const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(6);
    pq_buf_put(html, pq_page_head, pq_page_head_size);
    if (json_dump_callback(doc, put_escaped, html, flags) != 0)
        html->failed = true;
    pq_buf_put(html, pq_page_tail, pq_page_tail_size);
    return pq_buf_check(html, e);
}
