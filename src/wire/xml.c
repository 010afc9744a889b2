/* XML through Expat, see xml.h. SPDX-License-Identifier: MIT */
#include "wire/xml.h"

#include <expat.h>

#include <stdio.h>
#include <string.h>

#define CHUNK (1u << 20) /* Expat counts in int */

static XML_Parser expat_of(const struct pq_xml *x)
{
    return (XML_Parser)x->expat;
}

/* Expat may still call some handlers: ours look at rc first. */
static void stop(struct pq_xml *x, int rc)
{
    x->rc = rc;
    XML_StopParser(expat_of(x), XML_FALSE);
}

void pq_xml_fail(struct pq_xml *x, int code, const char *fmt, ...)
{
    char what[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    stop(x, pq_fail(x->e, code, "%s: line %lu: %s", x->path,
                    (unsigned long)XML_GetCurrentLineNumber(expat_of(x)), what));
}

void pq_xml_no_memory(struct pq_xml *x)
{
    stop(x, pq_fail(x->e, PQ_ENOMEM, "%s: out of memory", x->path));
}

const char *pq_xml_attr(const char **atts, const char *key)
{
    for (; *atts; atts += 2)
        if (!strcmp(*atts, key))
            return atts[1];
    return NULL;
}

static void on_start(void *user, const char *name, const char **atts)
{
    struct pq_xml *x = (struct pq_xml *)user;
    if (x->rc < 0)
        return;
    if (x->depth++ == PQ_XML_MAX_DEPTH)
        pq_xml_fail(x, PQ_EFORMAT, "elements are nested more than %d deep", PQ_XML_MAX_DEPTH);
    else
        x->start(x->ctx, name, atts);
}

static void on_end(void *user, const char *name)
{
    struct pq_xml *x = (struct pq_xml *)user;
    (void)name;
    if (x->rc < 0)
        return;
    x->depth--;
    x->end(x->ctx);
}

static void on_text(void *user, const char *s, int n)
{
    struct pq_xml *x = (struct pq_xml *)user;
    if (x->rc >= 0)
        x->text(x->ctx, s, n);
}

static void on_doctype(void *user, const char *name, const char *system, const char *public_id,
                       int internal)
{
    (void)system, (void)public_id, (void)internal;
    pq_xml_fail((struct pq_xml *)user, PQ_EUNSUPPORTED,
                "a document type (%.40s) and its entities are not read", name);
}

static void *xml_alloc(size_t n)
{
    return pq_realloc(NULL, n, 1);
}

static void *xml_realloc(void *p, size_t n)
{
    return pq_realloc(p, n, 1);
}

static int run(struct pq_xml *x, const uint8_t *data, uint64_t size)
{
    enum XML_Status ok = XML_STATUS_OK;
    uint64_t at = 0;
    do {
        const uint64_t n = size - at < CHUNK ? size - at : CHUNK;
        ok = XML_Parse(expat_of(x), (const char *)data + at, (int)n, at + n == size);
        at += n;
    } while (ok == XML_STATUS_OK && at < size);
    if (x->rc < 0 || ok == XML_STATUS_OK)
        return x->rc;
    const enum XML_Error why = XML_GetErrorCode(expat_of(x));
    if (why == XML_ERROR_NO_MEMORY)
        return pq_fail(x->e, PQ_ENOMEM, "%s: out of memory", x->path);
    return pq_fail(x->e, PQ_EFORMAT, "%s: line %lu: not XML, or cut short: %s", x->path,
                   (unsigned long)XML_GetCurrentLineNumber(expat_of(x)), XML_ErrorString(why));
}

int pq_xml_read(struct pq_xml *x, const uint8_t *data, uint64_t size, struct pq_err *e)
{
    static const XML_Memory_Handling_Suite memory = {xml_alloc, xml_realloc, pq_free};
    XML_Parser expat = XML_ParserCreate_MM(NULL, &memory, NULL);
    if (!expat)
        return pq_fail(e, PQ_ENOMEM, "%s: out of memory", x->path);
    x->expat = expat;
    x->e = e;
    XML_SetUserData(expat, x);
    XML_SetElementHandler(expat, on_start, on_end);
    XML_SetCharacterDataHandler(expat, on_text);
    XML_SetStartDoctypeDeclHandler(expat, on_doctype);
    int rc = run(x, data, size);
    XML_ParserFree(expat);
    x->expat = NULL;
    return rc;
}
