/*
 * sha256 SLOT: of the last level's words
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

OPERATION(sha256, 0)
{
    int64_t i;
    char *digest;

    for (i = 0; i < work->n; i++) {
        digest = hbitmap_sha256(*work->bitmap, NULL);
        snprintf(work->text, sizeof(work->text), "%s", digest);
        free(digest);
    }
}
