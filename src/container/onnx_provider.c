/*
 * Execution providers of ONNX Runtime, and what their kernels take.
 * Source: the provider tables of onnxruntime-genai's model builder (src/python/py/models/base.py)
 * and docs/OperatorKernels.md of onnxruntime. SPDX-License-Identifier: MIT
 */
#include "container/onnx.h"

#define BIT(t) (1u << (t))

static const struct pq_onnx_provider providers[] = {
    {.name = "cpu",
     .floats = BIT(PQ_F32),
     .usual = PQ_F32,
     .widens = true,
     .eight_bits = true,
     .rotates = true,
     .multiplies_by_rows = true,
     .accuracy = 4},
    {.name = "cuda",
     .options = "{\"enable_cuda_graph\": \"0\"}",
     .floats = BIT(PQ_F16) | BIT(PQ_BF16),
     .usual = PQ_F16,
     .eight_bits = true,
     .rotates = true,
     .multiplies_by_rows = true},
    {.name = "dml",
     .options = "{}",
     .floats = BIT(PQ_F16),
     .usual = PQ_F16,
     .multiplies_by_rows = true},
    {.name = "webgpu",
     .options = "{}",
     .floats = BIT(PQ_F32) | BIT(PQ_F16),
     .usual = PQ_F16,
     .eight_bits = true,
     .rotates = true,
     .accuracy = 4},
};

int pq_onnx_provider_find(const struct pq_onnx_provider **out, const char *name, struct pq_err *e)
{
    for (size_t i = 0; i < PQ_LEN(providers); i++)
        if (!name || pq_container_same_word(name, providers[i].name)) {
            *out = &providers[i];
            return PQ_OK;
        }
    return pq_fail(e, PQ_EINVAL, "unknown provider \"%s\": expected cpu, cuda, dml or webgpu",
                   name);
}

int pq_onnx_floats(enum pq_dtype *out, const struct pq_onnx_provider *p, const struct pq_recipe *r,
                   struct pq_err *e)
{
    const struct pq_scheme *base = pq_scheme_find(r->base);
    *out = p->usual;
    if (base->family != PQ_FAM_FLOAT || p->widens)
        return PQ_OK;
    *out = base->dtype;
    if (p->floats & BIT(base->dtype))
        return PQ_OK;
    return pq_fail(e, PQ_EUNSUPPORTED,
                   "onnx: attention of the provider %s does not compute in %s%s", p->name, r->name,
                   base->dtype == PQ_F32 ? ": take fp16, or the provider cpu" : ": take fp16");
}
