/*
 * status SLOT START COUNT: 1 if the first item is dirty, else 0; the length of its run
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(status, 2)
{
    int64_t start = work->argument[0], i;

    for (i = 0; i < work->n; i++, start += work->step) {
        work->answer[0] = hbitmap_status(*work->bitmap, start, work->argument[1],
                                         &work->answer[1]);
    }
    work->n_answers = 2;
}
