/*
 * reset SLOT START COUNT; whole groups, or up to the end
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(reset, 2)
{
    int64_t start = work->argument[0], i;

    for (i = 0; i < work->n; i++, start += work->step) {
        hbitmap_reset(*work->bitmap, start, work->argument[1]);
    }
}
