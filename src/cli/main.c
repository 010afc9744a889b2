/* SPDX-License-Identifier: MIT */
#include "phiq.h"

#include <stdio.h>

int main(void)
{
    printf("phiq %s\n", pq_version());
    return 0;
}
