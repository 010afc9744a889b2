/* A 64-bit checksum for large data, the same on every machine. Not for secrets.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_BASE_HASH_H
#define PQ_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Different seeds give unrelated values: chunk sums that are added up use the offset as the seed,
 * so that order of arrival does not matter and place does. */
uint64_t pq_hash(const void *data, size_t n, uint64_t seed);

#endif
