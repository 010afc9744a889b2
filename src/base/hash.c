/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "base/num.h"

/* Four independent multiply-xorshift streams over 32-byte stripes, then a splitmix64-like
 * finaliser. Speed matters more than strength: it guards against our own mistakes and bad disks. */
static uint64_t mix(uint64_t h)
{
    h ^= h >> 30;
    h *= 0xbf58476d1ce4e5b9u;
    h ^= h >> 27;
    h *= 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

uint64_t pq_hash(const void *data, size_t n, uint64_t seed)
{
    const uint8_t *p = (const uint8_t *)data;
    uint64_t s[4] = {seed ^ 0x9e3779b97f4a7c15u, seed + 0xc2b2ae3d27d4eb4fu, ~seed, seed ^ n};
    size_t left = n;
    for (; left >= 32; left -= 32, p += 32)
        for (int i = 0; i < 4; i++) {
            s[i] = (s[i] ^ pq_le64(p + 8 * i)) * 0x9fb21c651e98df25u;
            s[i] ^= s[i] >> 35;
        }
    for (; left; left--, p++)
        s[left & 3] = mix(s[left & 3] ^ *p);
    return mix(mix(mix(mix(s[0]) ^ s[1]) ^ s[2]) ^ s[3]);
}
