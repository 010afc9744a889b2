/* Values of code books that are whole numbers. SPDX-License-Identifier: MIT */
#ifndef PQ_KERN_BOOKS_H
#define PQ_KERN_BOOKS_H

#include <stdint.h> /* they fit int8_t */

/* IQ4_NL and IQ4_XS: the `gguf` package (gguf/quants.py). */
#define PQ_IQ4_VALUES                                                            \
    {                                                                            \
        -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113 \
    }

/* 4-bit floats (E2M1), doubled. */
#define PQ_E2M1_DOUBLED                                         \
    {                                                           \
        0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 \
    }

#endif
