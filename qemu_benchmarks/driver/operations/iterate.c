/*
 * iterate SLOT START LIMIT: how many set bits were visited, the last one (or -1), and their sum,
 * modulo 2**63
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(iterate, 2)
{
    HBitmapIter walk;
    int64_t i, item, left;
    uint64_t sum = 0;

    for (i = 0; i < work->n; i++) {
        work->answer[1] = -1;
        left = work->argument[1];
        hbitmap_iter_init(&walk, *work->bitmap, work->argument[0]);
        while (left && (item = hbitmap_iter_next(&walk)) >= 0) {
            work->answer[1] = item;
            sum += item;
            left--;
        }
        work->answer[0] = work->argument[1] - left;
    }
    work->answer[2] = sum & INT64_MAX;
    work->n_answers = 3;
}
