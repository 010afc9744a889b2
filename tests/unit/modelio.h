/* Models written to a scratch folder, read back and compared, for tests of containers.
 * SPDX-License-Identifier: MIT */
#ifndef PQ_TEST_MODELIO_H
#define PQ_TEST_MODELIO_H

#include "test.h"

#include "base/fs.h"
#include "container/container.h"

#define MODELIO_FIXTURES 6
extern const char *const modelio_fixtures[MODELIO_FIXTURES];

/* A fresh folder for this program, removed by the teardown: cmocka group fixtures. */
int modelio_setup(void **state);
int modelio_teardown(void **state);

const char *modelio_fixture(const char *name); /* folder of a fixture; valid for the next 7 calls */
const char *modelio_path(const char *name);    /* inside the scratch folder; likewise */

/* Converts `source` for one target into the scratch folder NAME and returns what to open. */
const char *modelio_write(const char *source, const char *name, const char *target,
                          const char *scheme, uint64_t split);

struct pq_model *modelio_load(const char *path); /* fails the test with the words */
void modelio_refused(const char *path, const char *words);

/* Hyperparameters, every row of every tensor, and the vocabulary. */
void modelio_same(const struct pq_model *a, const struct pq_model *b);
void modelio_same_rows(const struct pq_network *a, const struct pq_network *b);

/* A file in memory, and the same with the first `from` replaced by `to` of equal length. */
void modelio_slurp(const char *path, struct pq_buf *b);
void modelio_spill(const char *path, const struct pq_buf *b);
void modelio_patch(struct pq_buf *b, const char *from, size_t n, const char *to);

#endif
