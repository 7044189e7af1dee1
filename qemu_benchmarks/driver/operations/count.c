/*
 * count SLOT: items of all set bits
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(count, 0)
{
    int64_t i;

    for (i = 0; i < work->n; i++) {
        work->answer[0] = hbitmap_count(*work->bitmap);
    }
    work->n_answers = 1;
}
