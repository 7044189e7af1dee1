/*
 * get SLOT ITEM: 1 or 0
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(get, 1)
{
    int64_t item = work->argument[0], i;

    for (i = 0; i < work->n; i++, item += work->step) {
        work->answer[0] = hbitmap_get(*work->bitmap, item);
    }
    work->n_answers = 1;
}
