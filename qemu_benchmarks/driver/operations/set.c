/*
 * set SLOT START COUNT
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(set, 2)
{
    int64_t start = work->argument[0], i;

    for (i = 0; i < work->n; i++, start += work->step) {
        hbitmap_set(*work->bitmap, start, work->argument[1]);
    }
}
