# cython: language_level=3
# What compiled kinds of HBitmap share with it: its fields, its C methods, and the words of a level.

from libc.stdint cimport UINT64_MAX, int64_t, uint64_t

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define hb_ctz(word) __builtin_ctzll(word)
    #else
    #include <intrin.h>
    static __inline int hb_ctz(unsigned __int64 word) {
        unsigned long index;
        _BitScanForward64(&index, word);
        return (int)index;
    }
    #endif

    /* The counter can be compiled out, so that its own cost can be measured (see checks). */
    #ifdef HBITMAP_NO_COUNTERS
    #define hb_count(counter, n_words) ((void)0)
    #else
    #define hb_count(counter, n_words) ((counter) += (n_words))
    #endif
    """
    int hb_ctz(uint64_t word) noexcept nogil
    void hb_count(int64_t counter, int64_t n_words) noexcept nogil

cdef enum:
    LEVELS = 7
    LAST = LEVELS - 1


cdef inline uint64_t from_bit(int64_t bit) noexcept nogil:
    """A mask of bit & 63 and all bits above it in a word."""
    return UINT64_MAX << (bit & 63)


cdef inline uint64_t up_to_bit(int64_t bit) noexcept nogil:
    """A mask of bit & 63 and all bits below it in a word."""
    return UINT64_MAX >> (63 - (bit & 63))


cdef inline int64_t words_for(int64_t bits) noexcept nogil:
    """How many words a level of so many bits has: one at least."""
    return max((bits + 63) >> 6, 1)


cdef int64_t put_bits(uint64_t *words, int64_t first, int64_t last, bint ones) noexcept nogil
cdef bint all_nonzero(const uint64_t *words, int64_t first, int64_t last) noexcept nogil
cdef void summarize(const uint64_t *words, int64_t n, uint64_t *upper) noexcept nogil


cdef class HBitmap:
    cdef uint64_t *levels[LEVELS]    # each an allocation of its own, which can grow in place
    cdef int64_t n_words[LEVELS]
    cdef int64_t _size               # items
    cdef int64_t n_bits              # bits of the last level
    cdef int64_t n_set               # of them set
    cdef int _granularity
    cdef int64_t examined
    cdef int64_t generation          # of the words' place; a truncate ends all iterators
    cdef int64_t n_views             # buffers that point at the words now
    cdef bint unfinished             # deserialized in part: only the last level is right
    cdef Py_ssize_t view_shape[1]
    cdef Py_ssize_t view_strides[1]

    cdef int64_t _bits_for(self, int64_t size) except -1
    cdef int64_t _group_mask(self) noexcept
    cdef int _resize(self, int64_t size, int64_t bits) except -1
    cdef void _count_words(self) noexcept
    cdef void _set_bits(self, int64_t first, int64_t last) noexcept nogil
    cdef void _reset_bits(self, int64_t first, int64_t last) noexcept nogil
    cdef int _refuse_outside(self, int64_t first, uint64_t n, start, count) except -1
    cdef void _merge(self, HBitmap other) noexcept
    cdef void _merge_areas(self, HBitmap other) noexcept
    cdef void _merge_words(self, HBitmap other) noexcept
    cdef void _rebuild_upper(self) noexcept nogil
    cdef int _truncate(self, int64_t size, int64_t bits) except -1
    cdef int64_t _first_set(self, int64_t bit) noexcept nogil
    cdef int64_t _first_set_after(self, int64_t word) noexcept nogil
    cdef int64_t _step(self, int64_t *word, uint64_t *ahead) noexcept nogil
    cdef int64_t _first_zero(self, int64_t bit, int64_t last) noexcept nogil
    cdef int64_t _next_dirty(self, int64_t start, int64_t count) noexcept nogil
    cdef int64_t _next_zero(self, int64_t start, int64_t count) noexcept nogil
    cdef int64_t _next_dirty_area(
        self, int64_t start, int64_t stop, int64_t *count
    ) noexcept nogil
    cdef bint _status(self, int64_t start, int64_t *count) noexcept nogil
    cdef void _write_starts(self, int64_t[::1] out)
    cdef int64_t _n_runs(self) noexcept nogil
    cdef void _write_edges(self, int64_t[::1] out)
    cdef bint _equals(self, HBitmap other) except -1
    cdef int _find_part(self, start, count, int64_t *word, int64_t *n) except -1
    cdef int _fill_part(self, start, count, bint ones, finish) except -1
    cdef void _begin(self) noexcept
    cdef int _end_part(self, finish) except -1
    cdef int _refuse_unfinished(self) except -1
