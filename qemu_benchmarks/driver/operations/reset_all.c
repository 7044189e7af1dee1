/*
 * reset_all SLOT
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(reset_all, 0)
{
    int64_t i;

    for (i = 0; i < work->n; i++) {
        hbitmap_reset_all(*work->bitmap);
    }
}
