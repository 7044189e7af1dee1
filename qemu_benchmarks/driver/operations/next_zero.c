/*
 * next_zero SLOT START COUNT: the item, or -1
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(next_zero, 2)
{
    int64_t start = work->argument[0], i;

    for (i = 0; i < work->n; i++, start += work->step) {
        work->answer[0] = hbitmap_next_zero(*work->bitmap, start, work->argument[1]);
    }
    work->n_answers = 1;
}
