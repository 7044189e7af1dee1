/*
 * shuffle SLOT SIZE, that of the bitmap, a multiple of 64 bits: gives each bit a random value, the same
 * ones at each call
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "../driver.h"

/* The i-th output of the generator SplitMix64, by Vigna (public domain), from the seed 0. */
static uint64_t mixed(uint64_t i)
{
    uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

OPERATION(shuffle, 1)
{
    int64_t size = work->argument[0], n_words, i;
    uint64_t *words;

    n_words = hbitmap_serialization_size(*work->bitmap, 0, size) / sizeof(*words);
    words = calloc(n_words, sizeof(*words));
    for (i = 0; i < n_words; i++) {
        words[i] = mixed(i);
    }
    hbitmap_deserialize_part(*work->bitmap, (uint8_t *)words, 0, size, true);
    free(words);
}
