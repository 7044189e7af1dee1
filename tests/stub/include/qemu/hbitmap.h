/*
 * The functions of a hierarchical bitmap that the driver calls, declared for the stub in hbitmap.c.
 * As in an old version some are missing: there is no hbitmap_sha256.
 */
typedef struct HBitmap HBitmap;

typedef struct HBitmapIter {
    const HBitmap *bitmap;
    int64_t next;
} HBitmapIter;

HBitmap *hbitmap_alloc(uint64_t size, int granularity);
void hbitmap_free(HBitmap *bitmap);
void hbitmap_truncate(HBitmap *bitmap, uint64_t size);
void hbitmap_merge(const HBitmap *a, const HBitmap *b, HBitmap *result);
uint64_t hbitmap_count(const HBitmap *bitmap);
void hbitmap_set(HBitmap *bitmap, uint64_t start, uint64_t count);
void hbitmap_reset(HBitmap *bitmap, uint64_t start, uint64_t count);
void hbitmap_reset_all(HBitmap *bitmap);
bool hbitmap_get(const HBitmap *bitmap, uint64_t item);
uint64_t hbitmap_serialization_size(const HBitmap *bitmap, uint64_t start, uint64_t count);
void hbitmap_deserialize_part(HBitmap *bitmap, uint8_t *words, uint64_t start, uint64_t count,
                              bool finish);
int64_t hbitmap_next_dirty(const HBitmap *bitmap, int64_t start, int64_t count);
int64_t hbitmap_next_zero(const HBitmap *bitmap, int64_t start, int64_t count);
bool hbitmap_next_dirty_area(const HBitmap *bitmap, int64_t start, int64_t end, int64_t most,
                             int64_t *dirty_start, int64_t *dirty_count);
bool hbitmap_status(const HBitmap *bitmap, int64_t start, int64_t count, int64_t *length);
void hbitmap_iter_init(HBitmapIter *walk, const HBitmap *bitmap, uint64_t first);
int64_t hbitmap_iter_next(HBitmapIter *walk);
