/* Ids to bytes and, as they arrive, to text. SPDX-License-Identifier: MIT */
#include "tok/alphabet.h"
#include "tok/inside.h"
#include "tok/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

static void spm_bytes(const struct pq_token *tok, struct pq_buf *out)
{
    int byte = pq_tok_byte_piece(tok->text, tok->len);
    if (byte >= 0) {
        pq_buf_u8(out, (uint8_t)byte);
        return;
    }
    for (size_t i = 0; i < tok->len;) {
        bool space = pq_space_at(tok->text + i, tok->len - i);
        pq_buf_put(out, space ? " " : tok->text + i, 1);
        i += space ? PQ_SPM_SPACE_LEN : 1;
    }
}

/* As ByteLevel does: a token with a character outside of the alphabet is taken as it is. */
static void bpe_bytes(const struct pq_token *tok, struct pq_buf *out)
{
    size_t at = out->len, n;
    pq_buf_zero(out, tok->len);
    if (out->failed)
        return;
    if (!pq_alphabet_bytes(tok->text, tok->len, out->data + at, &n)) {
        memcpy(out->data + at, tok->text, tok->len);
        n = tok->len;
    }
    out->len = at + n;
}

/* Appends the bytes of one token; the space that stands for the beginning of the text is left out.
 */
static void put_token(const struct pq_tokenizer *t, uint32_t id, unsigned flags, bool *started,
                      struct pq_buf *out)
{
    const struct pq_vocab *v = t->v;
    if (id >= v->n_tokens || v->token[id].type == PQ_TOKEN_UNUSED ||
        ((flags & PQ_DECODE_SKIP_SPECIAL) && v->token[id].special))
        return;
    size_t at = out->len;
    (v->kind == PQ_VOCAB_SPM ? spm_bytes : bpe_bytes)(&v->token[id], out);
    if (*started || out->failed || out->len == at)
        return;
    *started = true;
    if (v->kind == PQ_VOCAB_SPM && v->add_space_prefix && out->data[at] == ' ') {
        memmove(out->data + at, out->data + at + 1, out->len - at - 1);
        out->len--;
    }
}

int pq_tokenizer_decode(const struct pq_tokenizer *t, const uint32_t *id, size_t n, unsigned flags,
                        struct pq_buf *out, struct pq_err *e)
{
    bool started = false;
    for (size_t i = 0; i < n; i++)
        put_token(t, id[i], flags, &started, out);
    return pq_buf_check(out, e);
}

void pq_detok_begin(struct pq_detok *d, const struct pq_tokenizer *t, unsigned flags)
{
    *d = (struct pq_detok){.t = t, .flags = flags};
}

/* Moves whole characters from d->held to out. Each longest beginning of a character that goes wrong
 * becomes one U+FFFD, as Unicode recommends (its section 3.9). */
static void release(struct pq_detok *d, bool last, struct pq_buf *out)
{
    const char *s = (const char *)d->held.data;
    size_t i = 0, n = d->held.len;
    while (i < n) {
        size_t k = pq_utf8_len(s + i, n - i);
        if (k) {
            pq_buf_put(out, s + i, k);
            i += k;
            continue;
        }
        k = pq_utf8_partial(s + i, n - i);
        if (k == n - i && !last)
            break;
        pq_buf_puts(out, REPLACEMENT);
        i += k ? k : 1;
    }
    if (i)
        memmove(d->held.data, d->held.data + i, n - i);
    d->held.len = n - i;
}

int pq_detok_put(struct pq_detok *d, uint32_t id, struct pq_buf *out, struct pq_err *e)
{
    put_token(d->t, id, d->flags, &d->started, &d->held);
    int rc = pq_buf_check(&d->held, e);
    if (rc < 0)
        return rc;
    release(d, false, out);
    return pq_buf_check(out, e);
}

int pq_detok_end(struct pq_detok *d, struct pq_buf *out, struct pq_err *e)
{
    release(d, true, out);
    pq_buf_free(&d->held);
    d->started = false;
    return pq_buf_check(out, e);
}
