/* A config.json over the weights of a tiny MLX folder (hidden 64, one layer, 4-bit groups of 32):
 * it may claim any bits, groups and shapes. SPDX-License-Identifier: MIT */
#include "scratch.h"

#include "wire/safetensors.h"

static const struct {
    const char *module;
    uint64_t rows, cols; /* rows = 0: a norm of cols weights */
} modules[] = {
    {"model.embed_tokens", 16, 64},
    {"model.layers.0.input_layernorm", 0, 64},
    {"model.layers.0.self_attn.qkv_proj", 192, 64},
    {"model.layers.0.self_attn.o_proj", 64, 64},
    {"model.layers.0.post_attention_layernorm", 0, 64},
    {"model.layers.0.mlp.gate_up_proj", 128, 64},
    {"model.layers.0.mlp.down_proj", 64, 64},
    {"model.norm", 0, 64},
    {"lm_head", 16, 64},
};

static uint64_t put(struct pq_st_writer *w, const char *module, const char *part,
                    enum pq_dtype dtype, const uint64_t dim[2], uint64_t at)
{
    char name[128];
    const uint64_t rows = dim[0] ? dim[0] : 1, end = at + rows * dim[1] * pq_dtype_size(dtype);
    snprintf(name, sizeof name, "%s.%s", module, part);
    pq_st_put(w, name, dtype, dim[0] ? 2 : 1, dim[0] ? dim : dim + 1, at, end);
    return end;
}

static void write_weights(void)
{
    struct pq_buf b = {0};
    struct pq_st_writer w;
    uint64_t at = 0;
    pq_st_begin(&w, &b, "mlx");
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        const uint64_t rows = modules[i].rows, cols = modules[i].cols;
        const bool packed = rows != 0;
        at = put(&w, modules[i].module, "weight", packed ? PQ_U32 : PQ_BF16,
                 (const uint64_t[]){rows, packed ? cols / 8 : cols}, at);
        for (int k = 0; packed && k < 2; k++)
            at = put(&w, modules[i].module, k ? "biases" : "scales", PQ_BF16,
                     (const uint64_t[]){rows, cols / 32}, at);
    }
    pq_st_end(&w, 64);
    pq_buf_zero(&b, (size_t)at);
    REQUIRE(!b.failed);
    scratch_write("model.safetensors", b.data, b.len);
    pq_buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch_dir[0]) {
        scratch_make();
        write_weights();
    }
    scratch_write("config.json", data, size);
    scratch_load("");
    return 0;
}
