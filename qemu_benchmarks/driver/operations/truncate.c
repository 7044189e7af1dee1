/*
 * truncate SLOT SIZE
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(truncate, 1)
{
    int64_t size = work->argument[0], i;

    for (i = 0; i < work->n; i++, size += work->step) {
        hbitmap_truncate(*work->bitmap, size);
    }
}
