/*
 * A bitmap with a hierarchical bitmap's functions, plain and slow: a byte a bit, no levels.
 *
 * The driver is tested with it where no QEMU is at hand.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "qemu/osdep.h"
#include "qemu/hbitmap.h"
#include <assert.h>

struct HBitmap {
    int64_t size;  /* items */
    int shift;     /* a bit stands for 2**shift items */
    char *bits;    /* 0 or 1 each */
};

static int64_t bits_for(int64_t size, int shift)
{
    return (size >> shift) + (size & ((INT64_C(1) << shift) - 1) ? 1 : 0);
}

static int64_t n_bits(const HBitmap *bitmap)
{
    return bits_for(bitmap->size, bitmap->shift);
}

HBitmap *hbitmap_alloc(uint64_t size, int granularity)
{
    HBitmap *bitmap = malloc(sizeof(*bitmap));

    *bitmap = (HBitmap) { size, granularity, calloc(bits_for(size, granularity) + 1, 1) };
    return bitmap;
}

void hbitmap_free(HBitmap *bitmap)
{
    free(bitmap->bits);
    free(bitmap);
}

void hbitmap_truncate(HBitmap *bitmap, uint64_t size)
{
    int64_t before = n_bits(bitmap), after = bits_for(size, bitmap->shift);

    bitmap->bits = realloc(bitmap->bits, after + 1);
    if (after > before) {
        memset(bitmap->bits + before, 0, after - before);
    }
    bitmap->size = size;
}

static void put(HBitmap *bitmap, uint64_t start, uint64_t count, char value)
{
    int64_t bit = start >> bitmap->shift;

    if (count) {
        assert((int64_t)((start + count - 1) >> bitmap->shift) < n_bits(bitmap));
        for (; bit <= (int64_t)((start + count - 1) >> bitmap->shift); bit++) {
            bitmap->bits[bit] = value;
        }
    }
}

void hbitmap_set(HBitmap *bitmap, uint64_t start, uint64_t count)
{
    put(bitmap, start, count, 1);
}

void hbitmap_reset(HBitmap *bitmap, uint64_t start, uint64_t count)
{
    put(bitmap, start, count, 0);
}

void hbitmap_reset_all(HBitmap *bitmap)
{
    memset(bitmap->bits, 0, n_bits(bitmap));
}

bool hbitmap_get(const HBitmap *bitmap, uint64_t item)
{
    return bitmap->bits[item >> bitmap->shift];
}

uint64_t hbitmap_count(const HBitmap *bitmap)
{
    uint64_t count = 0;

    for (int64_t bit = 0; bit < n_bits(bitmap); bit++) {
        count += bitmap->bits[bit];
    }
    return count << bitmap->shift;
}

void hbitmap_merge(const HBitmap *a, const HBitmap *b, HBitmap *result)
{
    int64_t size = a->size, from, count;

    assert(result == a && b->size == size);
    for (from = 0; hbitmap_next_dirty_area(b, from, size, size, &from, &count); from += count) {
        hbitmap_set(result, from, count);
    }
}

uint64_t hbitmap_serialization_size(const HBitmap *bitmap, uint64_t start, uint64_t count)
{
    assert(start == 0 && (int64_t)count == bitmap->size);
    return (n_bits(bitmap) + 63) / 64 * 8;
}

void hbitmap_deserialize_part(HBitmap *bitmap, uint8_t *words, uint64_t start, uint64_t count,
                              bool finish)
{
    assert(finish && hbitmap_serialization_size(bitmap, start, count));
    for (int64_t bit = 0; bit < n_bits(bitmap); bit++) {
        bitmap->bits[bit] = words[bit / 8] >> bit % 8 & 1;
    }
}

/* The first item of a value in a range that is cut at the size, or -1. */
static int64_t find(const HBitmap *bitmap, int64_t start, int64_t count, char value)
{
    int64_t end = count > bitmap->size - start ? bitmap->size : start + count;

    for (int64_t item = start; item < end; item = ((item >> bitmap->shift) + 1) << bitmap->shift) {
        if (bitmap->bits[item >> bitmap->shift] == value) {
            return item;
        }
    }
    return -1;
}

int64_t hbitmap_next_dirty(const HBitmap *bitmap, int64_t start, int64_t count)
{
    return find(bitmap, start, count, 1);
}

int64_t hbitmap_next_zero(const HBitmap *bitmap, int64_t start, int64_t count)
{
    return find(bitmap, start, count, 0);
}

bool hbitmap_next_dirty_area(const HBitmap *bitmap, int64_t start, int64_t end, int64_t most,
                             int64_t *dirty_start, int64_t *dirty_count)
{
    int64_t first = find(bitmap, start, end - start, 1), last;

    if (first < 0) {
        return false;
    }
    end = end > bitmap->size ? bitmap->size : end;
    end = most < end - first ? first + most : end;
    last = find(bitmap, first, end - first, 0);
    *dirty_start = first;
    *dirty_count = (last < 0 ? end : last) - first;
    return true;
}

bool hbitmap_status(const HBitmap *bitmap, int64_t start, int64_t count, int64_t *length)
{
    bool dirty = hbitmap_get(bitmap, start);
    int64_t edge = find(bitmap, start, count, !dirty);

    *length = edge < 0 ? count : edge - start;
    return dirty;
}

void hbitmap_iter_init(HBitmapIter *walk, const HBitmap *bitmap, uint64_t first)
{
    *walk = (HBitmapIter) { bitmap, first >> bitmap->shift << bitmap->shift };
}

int64_t hbitmap_iter_next(HBitmapIter *walk)
{
    int64_t found = find(walk->bitmap, walk->next, INT64_MAX, 1);

    walk->next = found + (INT64_C(1) << walk->bitmap->shift);
    return found;
}
