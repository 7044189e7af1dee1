/*
 * merge SLOT OTHER: sets in the first slot's bitmap what the other slot's has set
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(merge, 1)
{
    HBitmap *other = bitmap_in(work->argument[0]);
    int64_t i;

    for (i = 0; i < work->n; i++) {
        hbitmap_merge(*work->bitmap, other, *work->bitmap);
    }
}
