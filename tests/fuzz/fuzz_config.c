/* config.json: a status or hyperparameters that read back equal. SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include "arch/network.h"

static int configure(struct pq_network *net, const json_t *config, struct pq_arena *a)
{
    int rc = pq_arch_find(&net->arch, config, NULL);
    return rc < 0 ? rc : net->arch->configure(&net->hp, config, a, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pq_arena a = {0};
    struct pq_network net = {0}, again = {0};
    json_t *j, *emitted;
    if (pq_json_parse(&j, (const char *)data, size, "config.json", NULL) < 0)
        return 0;
    if (configure(&net, j, &a) == PQ_OK) {
        emitted = pq_network_config(&net);
        REQUIRE(configure(&again, emitted, &a) == PQ_OK);
        REQUIRE(net.hp.rot_dims == again.hp.rot_dims && net.hp.n_eos == again.hp.n_eos);
        REQUIRE((float)net.hp.attn_factor == (float)again.hp.attn_factor);
        json_decref(emitted);
    }
    json_decref(j);
    pq_arena_free(&a);
    return 0;
}
