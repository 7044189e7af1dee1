/*
 * next_dirty_area SLOT START END MAX: the run's start and count, or nothing; END moves with START
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(next_dirty_area, 3)
{
    int64_t start = work->argument[0], end = work->argument[1], i;
    bool found = false;

    for (i = 0; i < work->n; i++, start += work->step, end += work->step) {
        found = hbitmap_next_dirty_area(*work->bitmap, start, end, work->argument[2],
                                        &work->answer[0], &work->answer[1]);
    }
    work->n_answers = found ? 2 : 0;
}
