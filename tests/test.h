/* What every unit test includes: cmocka with its prerequisites. SPDX-License-Identifier: MIT */
#ifndef PQ_TEST_H
#define PQ_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The words of an error must contain what the user needs to find the culprit. */
#define assert_words(err, part)                                       \
    do {                                                              \
        if (!strstr((err).msg, part))                                 \
            fail_msg("message \"%s\" lacks \"%s\"", (err).msg, part); \
    } while (0)

#endif
