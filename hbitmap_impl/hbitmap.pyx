# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True, freethreading_compatible=False
"""HBitmap: QEMU's hierarchical bitmap, compiled.

Seven levels of 64-bit words. The last level holds the bits; bit N of level k says that word N of
level k+1 is not zero. A set bit is found by climbing past empty words and descending again, in at
most 13 loads. A zero bit can't be found that way, for an upper bit says only "not empty": the last
level has to be read word by word. That difference is what this project measures.
"""

from cpython.buffer cimport PyBUF_WRITABLE
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport INT64_MAX, INT64_MIN, UINT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

import hashlib

import numpy as np

cdef extern from *:
    """
    /* to[i] = (base + bits[i]) << shift, eight of them. Compilers don't see by themselves that
       these can be pairs: half the instructions. */
    static inline void hb_place_eight(int64_t *to, const int64_t *bits, int64_t base, int shift) {
    #if defined(__GNUC__) || defined(__clang__)
        typedef int64_t pair __attribute__((vector_size(16), aligned(8), may_alias));
        for (int i = 0; i < 4; i++) ((pair *)to)[i] = (((const pair *)bits)[i] + base) << shift;
    #else
        for (int i = 0; i < 8; i++) to[i] = (base + bits[i]) << shift;
    #endif
    }

    /* Set bits of n words. Baseline x86-64 has no popcnt instruction, and a wheel must run
       anywhere: the kernel is chosen when the module is imported. */
    static int64_t hb_popcount_portable(const uint64_t *words, int64_t n) {
        int64_t total = 0;
        for (int64_t i = 0; i < n; i++) {
            uint64_t w = words[i];
            w -= (w >> 1) & 0x5555555555555555u;                                 /* 2-bit sums */
            w = (w & 0x3333333333333333u) + ((w >> 2) & 0x3333333333333333u);    /* 4-bit sums */
            w = (w + (w >> 4)) & 0x0f0f0f0f0f0f0f0fu;                            /* byte sums */
            total += (int64_t)((w * 0x0101010101010101u) >> 56);                 /* their total */
        }
        return total;
    }
    static int64_t (*hb_popcount)(const uint64_t *, int64_t) = hb_popcount_portable;

    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    __attribute__((target("popcnt")))
    static int64_t hb_popcount_popcnt(const uint64_t *words, int64_t n) {
        int64_t a = 0, b = 0, c = 0, d = 0, i = 0;
        for (; i + 4 <= n; i += 4) {    /* four sums: one popcnt must not wait for the last */
            a += __builtin_popcountll(words[i]);
            b += __builtin_popcountll(words[i + 1]);
            c += __builtin_popcountll(words[i + 2]);
            d += __builtin_popcountll(words[i + 3]);
        }
        for (; i < n; i++) a += __builtin_popcountll(words[i]);
        return a + b + c + d;
    }
    static void hb_choose_kernels(void) {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("popcnt")) hb_popcount = hb_popcount_popcnt;
    }
    #else
    static void hb_choose_kernels(void) {}
    #endif
    """
    const char *HBITMAP_FLAGS
    int64_t hb_popcount(const uint64_t *words, int64_t n) noexcept nogil
    void hb_place_eight(int64_t *to, const int64_t *bits, int64_t base, int shift) noexcept nogil
    void hb_choose_kernels() noexcept nogil

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1

hb_choose_kernels()

# What setup.py added to the interpreter's own compiler flags, for reports of speed.
BUILD_FLAGS = HBITMAP_FLAGS.decode()

cdef enum:
    BLOCK_WORDS = 512    # 4 KiB: a block stays in the L1 cache between two passes over it

cdef int64_t MAX_BITS = <int64_t>1 << 41


# ---------------------------------------------------------------- bits of one level, no Python

cdef inline int64_t put_word(uint64_t *word, uint64_t mask, bint ones) noexcept nogil:
    """Set or clear the mask's bits in a word; how many of them were set before."""
    cdef uint64_t before = word[0] & mask
    word[0] = word[0] | mask if ones else word[0] & ~mask
    return hb_popcount(&before, 1) if before else 0


cdef int64_t put_words(uint64_t *words, int64_t n, bint ones) noexcept nogil:
    """Fill whole words; how many bits were set before. One pass over memory, block by block."""
    cdef int64_t before = 0, done = 0, size
    while done < n:
        size = min(n - done, BLOCK_WORDS)
        before += hb_popcount(words + done, size)
        memset(words + done, 0xff if ones else 0, size * sizeof(uint64_t))
        done += size
    return before


cdef int64_t put_bits(uint64_t *words, int64_t first, int64_t last, bint ones) noexcept nogil:
    """Set or clear bits first..last of one level; how many of them were set before."""
    cdef int64_t head = first >> 6, tail = last >> 6, before
    if head == tail:
        return put_word(words + head, from_bit(first) & up_to_bit(last), ones)
    before = put_word(words + head, from_bit(first), ones)
    before += put_words(words + head + 1, tail - head - 1, ones)
    return before + put_word(words + tail, up_to_bit(last), ones)


cdef int64_t merge_words(uint64_t *words, const uint64_t *others, int64_t n) noexcept nogil:
    """Set in words what others have set; how many bits are set then. Block by block as well."""
    cdef int64_t total = 0, done = 0, size, i
    while done < n:
        size = min(n - done, BLOCK_WORDS)
        for i in range(done, done + size):
            words[i] |= others[i]
        total += hb_popcount(words + done, size)
        done += size
    return total


cdef inline bint all_nonzero(const uint64_t *words, int64_t first, int64_t last) noexcept nogil:
    """True if words first..last, a few at most, are known to be non-zero."""
    if last - first > 16:
        return False    # a long range: writing its few upper words is cheaper than looking
    while first <= last:
        if words[first] == 0:
            return False
        first += 1
    return True


cdef void summarize(const uint64_t *words, int64_t n, uint64_t *upper) noexcept nogil:
    """Rebuild a level from the n words below: bit i says that word i is not zero."""
    cdef int64_t i, j, end
    cdef uint64_t summary
    for i in range((n + 63) >> 6):
        summary = 0
        end = min(n - (i << 6), 64)
        for j in range(end):
            summary |= <uint64_t>(words[(i << 6) + j] != 0) << j
        upper[i] = summary


cdef int64_t BITS_OF_BYTE[256][8]     # positions of a byte's set bits, then zeros
cdef uint8_t N_BITS_OF_BYTE[256]


cdef void fill_byte_tables() noexcept nogil:
    cdef int byte, bit
    for byte in range(256):
        N_BITS_OF_BYTE[byte] = 0
        for bit in range(8):
            if byte >> bit & 1:
                BITS_OF_BYTE[byte][N_BITS_OF_BYTE[byte]] = bit
                N_BITS_OF_BYTE[byte] += 1


fill_byte_tables()


cdef inline int64_t *write_sparse(int64_t *to, uint64_t rest, int64_t base, int shift) noexcept nogil:
    """Write ``(base + bit) << shift`` of each set bit of a word; the place behind the last."""
    while rest:
        to[0] = (base + hb_ctz(rest)) << shift
        to += 1
        rest &= rest - 1    # clears the lowest set bit
    return to


cdef inline int64_t *write_dense(int64_t *to, uint64_t rest, int64_t base, int shift) noexcept nogil:
    """As ``write_sparse``, byte by byte from a table, without a branch a bit.

    All eight places of a byte are written, so that up to eight behind the last one are spoilt.
    """
    cdef int byte
    for byte in range(8):
        hb_place_eight(to, BITS_OF_BYTE[rest & 0xff], base, shift)
        to += N_BITS_OF_BYTE[rest & 0xff]
        rest >>= 8
        base += 8
    return to


cdef uint64_t *resized(uint64_t *words, int64_t n, int64_t n_new) noexcept nogil:
    """Room for ``n_new`` words, of which those past the n old ones are zero; NULL without it."""
    cdef uint64_t *moved
    if n_new <= 2 * n:
        moved = <uint64_t *>PyMem_RawRealloc(words, n_new * sizeof(uint64_t))
        if moved != NULL and n_new > n:
            memset(moved + n, 0, (n_new - n) * sizeof(uint64_t))
        return moved
    moved = <uint64_t *>PyMem_RawCalloc(n_new, sizeof(uint64_t))    # most of it stays untouched
    if moved != NULL and n:
        memcpy(moved, words, n * sizeof(uint64_t))
        PyMem_RawFree(words)
    return moved


# ---------------------------------------------------------------- arguments

cdef inline int64_t as_item(object value) except? -1:
    """A Python int as int64; one too large for it becomes the nearest int64."""
    cdef int overflow = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return INT64_MAX if overflow > 0 else INT64_MIN
    return number


cdef inline int64_t as_natural(object value, str name) except -1:
    """A Python int of 0 or more, clipped to int64; else ``ValueError``."""
    cdef int64_t number = as_item(value)
    if number < 0:
        raise ValueError(f"{name} must be 0 or more, not {value}")
    return number


cdef int64_t as_size(object value) except -1:
    """A number of items: as ``as_natural``, but refused where int64 can't hold it."""
    cdef int overflow = 0
    PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0:
        raise ValueError(f"size must be at most 2**63 - 1 items, not {value}")
    return as_natural(value, "size")


cdef inline uint64_t as_length(object value) except? 0:
    """The count of an update, up to 2**63: a size of 2**63 - 1 may be rounded up to that."""
    cdef int overflow = 0
    cdef int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0:
        # What is larger still lies outside of any bitmap, as this does.
        return <uint64_t>1 << 63 if value == 1 << 63 else UINT64_MAX
    if overflow < 0 or number < 0:
        raise ValueError(f"count must be 0 or more, not {value}")
    return number


cdef class HBitmap:
    """A bitmap over ``size`` items in which one bit stands for ``2**granularity`` items.

    ======== ==========================================================================
    size     ``size`` ``granularity`` ``count`` ``len()`` ``truncate``
    update   ``set`` ``reset`` ``reset_all`` ``merge`` ``invert``
    search   ``get`` ``next_dirty`` ``next_zero`` ``next_dirty_area`` ``status``
    walk     ``iter()`` ``iter_from`` ``to_array`` ``to_runs``
    whole    ``copy`` ``==`` ``sha256`` ``words``
    parts    ``serialization_align`` ``serialize_part`` ``deserialize_part``
             ``deserialize_zeroes`` ``deserialize_ones`` ``deserialize_finish``
    counters ``words_examined`` ``reset_counters``
    ======== ==========================================================================

    Every position and every count is in items. A bitmap starts all zero and costs
    ``(bits / 8) * 64/63`` bytes, touched only where it is written.

    Raises ``ValueError`` for a negative size or one over ``2**63 - 1``, a granularity outside
    0..63, and more than ``2**41`` bits; ``MemoryError`` when the words can't be had.

    >>> bitmap = HBitmap(1000, granularity=3)
    >>> bitmap.set(100, 10)
    >>> bitmap.to_runs().tolist()
    [[96, 16]]
    >>> bitmap.next_dirty(0), bitmap.next_zero(96), bitmap.count
    (96, 112, 16)
    """

    def __cinit__(self, size, granularity=0):
        shift = as_item(granularity)
        if not 0 <= shift <= 63:
            raise ValueError(f"granularity must be within 0..63, not {granularity}")
        n_items = as_size(size)
        self._granularity = shift
        self._resize(n_items, self._bits_for(n_items))

    def __dealloc__(self):
        cdef int level
        for level in range(LEVELS):
            PyMem_RawFree(self.levels[level])

    cdef int64_t _bits_for(self, int64_t size) except -1:
        """Bits that a size needs at this granularity, checked against the limit."""
        cdef int64_t bits = (size >> self._granularity) + ((size & self._group_mask()) != 0)
        if bits > MAX_BITS:
            raise ValueError(
                f"a bitmap has at most 2**41 bits, but {size} items at granularity "
                f"{self._granularity} need {bits}: use a larger granularity"
            )
        return bits

    cdef inline int64_t _group_mask(self) noexcept:
        """Item positions within a group: the low ``granularity`` bits."""
        return <int64_t>((<uint64_t>1 << self._granularity) - 1)

    cdef int _resize(self, int64_t size, int64_t bits) except -1:
        """Give each level the words that so many bits need, at least one; new ones are zero.

        Bits past a smaller end must be clear already. Without memory for all levels, some have
        room that nothing tells of, and nothing else has changed.
        """
        cdef int64_t n = bits
        cdef int level
        cdef uint64_t *words
        for level in range(LAST, -1, -1):
            n = words_for(n)
            if n == self.n_words[level]:
                break    # then so it is above
            words = resized(self.levels[level], self.n_words[level], n)
            if words != NULL:
                self.levels[level] = words
            elif n > self.n_words[level]:    # one that can't shrink has room to spare
                self._count_words()
                raise MemoryError(f"no memory for a bitmap of {bits} bits ({n * 8} bytes)")
            self.n_words[level] = n
        self._size = size
        self.n_bits = bits
        return 0

    cdef void _count_words(self) noexcept:
        """Say again how many words the bits need in each level."""
        cdef int64_t n = self.n_bits
        cdef int level
        for level in range(LAST, -1, -1):
            n = words_for(n)
            self.n_words[level] = n

    # ------------------------------------------------------------ size

    @property
    def size(self):
        """Items, as given."""
        return self._size

    @property
    def granularity(self):
        """log2 of the items that one bit stands for."""
        return self._granularity

    @property
    def count(self):
        """Set bits ``<< granularity``, in items: a partial last group counts as a whole one.

        Cost: O(1); every update keeps it.
        """
        self._refuse_unfinished()
        return <object>self.n_set << self._granularity

    def __len__(self):
        return self._size

    def __bool__(self):
        return True    # as for any object: an empty bitmap is a bitmap, and len() is its size

    def __sizeof__(self):
        cdef int level
        n_words = sum([self.n_words[level] for level in range(LEVELS)])
        return object.__sizeof__(self) + n_words * sizeof(uint64_t)

    def __repr__(self):
        count = "unfinished" if self.unfinished else self.count
        return f"HBitmap(size={self._size}, granularity={self._granularity}, count={count})"

    # ------------------------------------------------------------ update

    cdef void _set_bits(self, int64_t first, int64_t last) noexcept nogil:
        """Set bits first..last on the last level, and tell the levels above."""
        cdef int level = LAST
        cdef bint told = all_nonzero(self.levels[LAST], first >> 6, last >> 6)
        self.n_set += last - first + 1 - put_bits(self.levels[LAST], first, last, True)
        while not told and level > 0:
            level -= 1
            first >>= 6
            last >>= 6
            told = all_nonzero(self.levels[level], first >> 6, last >> 6)
            put_bits(self.levels[level], first, last, True)

    cdef void _reset_bits(self, int64_t first, int64_t last) noexcept nogil:
        """Clear bits first..last on the last level, and tell the levels above."""
        cdef int level = LAST
        cdef uint64_t *words = self.levels[LAST]
        cdef int64_t n_cleared = put_bits(words, first, last, False)
        self.n_set -= n_cleared
        while n_cleared and level > 0:
            # Only the words at both ends can have bits left: an upper bit goes when its word did.
            first = (first >> 6) + (words[first >> 6] != 0)
            last = (last >> 6) - (words[last >> 6] != 0)
            if first > last:
                return
            level -= 1
            words = self.levels[level]
            put_bits(words, first, last, False)

    def set(self, start, count):
        """Set ``count`` items from ``start``, widened outwards to whole groups.

        Cost: O(count / 64 / 2**granularity) words.
        Raises ``ValueError`` when the range isn't inside the bitmap, which stays unchanged.
        """
        self._refuse_unfinished()
        cdef int64_t first = as_natural(start, "start")
        cdef uint64_t n = as_length(count)
        if n == 0:
            return
        self._refuse_outside(first, n, start, count)
        self._set_bits(first >> self._granularity, (first + <int64_t>n - 1) >> self._granularity)

    def reset(self, start, count):
        """Clear ``count`` items from ``start``; both must be whole groups.

        The end may also be the bitmap's size, as it is or rounded up to a group.
        Cost: O(count / 64 / 2**granularity) words.
        Raises ``ValueError`` for part of a group, or a range that isn't inside the bitmap; the
        bitmap stays unchanged.
        """
        self._refuse_unfinished()
        cdef int64_t first = as_natural(start, "start")
        cdef uint64_t n = as_length(count)
        cdef int64_t mask = self._group_mask()
        cdef uint64_t rounded_up = <uint64_t>self.n_bits << self._granularity
        if n == 0:
            return
        if first < self._size and n == rounded_up - <uint64_t>first:
            n = self._size - first
        self._refuse_outside(first, n, start, count)
        if first & mask or (n & mask and first + <int64_t>n != self._size):
            raise ValueError(
                f"reset takes whole groups of {<uint64_t>mask + 1} items, or up to the size "
                f"{self._size}: not start {start}, count {count}"
            )
        self._reset_bits(first >> self._granularity, (first + <int64_t>n - 1) >> self._granularity)

    cdef int _refuse_outside(self, int64_t first, uint64_t n, start, count) except -1:
        if first > self._size or n > <uint64_t>(self._size - first):
            raise ValueError(
                f"a range must lie inside the bitmap of {self._size} items: "
                f"not start {start}, count {count}"
            )
        return 0

    def reset_all(self):
        """Clear every bit. Cost: one pass over all words."""
        self._refuse_unfinished()
        cdef int level
        for level in range(LEVELS):
            memset(self.levels[level], 0, self.n_words[level] * sizeof(uint64_t))
        self.n_set = 0

    def merge(self, HBitmap other not None):
        """Set, in place, all that ``other`` has set; equal to ``self |= other``.

        With other granularities each dirty area of ``other`` is ``set`` here, so it widens.
        Cost: one pass over the words, or one ``set`` a dirty area; O(1) if ``other`` is empty.
        Raises ``ValueError`` when the sizes differ; nothing is changed then.
        """
        self._refuse_unfinished()
        other._refuse_unfinished()
        if self._size != other._size:
            raise ValueError(f"merge needs equal sizes, not {self._size} and {other._size}")
        self._merge(other)

    cdef void _merge(self, HBitmap other) noexcept:
        if other.n_set == 0:
            return
        if self._granularity == other._granularity:
            self._merge_words(other)
        else:
            self._merge_areas(other)

    cdef void _merge_areas(self, HBitmap other) noexcept:
        # A merge isn't a search of the other one: its counter stays.
        cdef int64_t examined = other.examined, start = 0, end
        while (start := other._next_dirty(start, INT64_MAX)) >= 0:
            end = other._next_zero(start, INT64_MAX)
            end = self._size if end < 0 else end
            self._set_bits(start >> self._granularity, (end - 1) >> self._granularity)
            start = end
        other.examined = examined

    cdef void _merge_words(self, HBitmap other) noexcept:
        # A word is non-zero where either is, so that the upper levels are merged by the same "or".
        cdef int level
        for level in range(LAST):
            merge_words(self.levels[level], other.levels[level], self.n_words[level])
        self.n_set = merge_words(self.levels[LAST], other.levels[LAST], self.n_words[LAST])

    def invert(self):
        """Flip every bit, in place (not their order: 1110000 becomes 0001111).

        Cost: one pass over the words.
        """
        self._refuse_unfinished()
        cdef uint64_t *words = self.levels[LAST]
        cdef int64_t i, n = self.n_words[LAST]
        for i in range(n):
            words[i] = ~words[i]
        words[n - 1] &= up_to_bit(self.n_bits - 1) if self.n_bits else 0
        self.n_set = self.n_bits - self.n_set
        self._rebuild_upper()

    cdef void _rebuild_upper(self) noexcept nogil:
        cdef int level
        for level in range(LAST, 0, -1):
            summarize(self.levels[level], self.n_words[level], self.levels[level - 1])

    def truncate(self, size):
        """Change the size, in place. Growing adds zeros; shrinking drops whole groups.

        The bit of a partial last group is kept. Iterators become invalid.
        Cost: one pass over the words that go or come, over all where they more than double, and
        what moving them takes where they can't grow in place.
        Raises ``ValueError`` for a size that the constructor refuses, and ``BufferError`` while a
        view from ``words`` is alive; the bitmap stays unchanged.
        """
        self._refuse_unfinished()
        cdef int64_t n_items = as_size(size)
        cdef int64_t bits = self._bits_for(n_items)
        if bits != self.n_bits and self.n_views:
            raise BufferError("truncate moves the words: drop every view of .words first")
        self._truncate(n_items, bits)

    cdef int _truncate(self, int64_t size, int64_t bits) except -1:
        if bits < self.n_bits:
            self._reset_bits(bits, self.n_bits - 1)
        self._resize(size, bits)
        self.generation += 1
        return 0

    # ------------------------------------------------------------ search

    cdef inline int64_t _first_set(self, int64_t bit) noexcept nogil:
        """The first set bit at or after ``bit``, or -1: up one path, down another."""
        cdef uint64_t rest = self.levels[LAST][bit >> 6] & from_bit(bit)
        if rest == 0:
            return self._first_set_after(bit >> 6)
        hb_count(self.examined, 1)
        return (bit & ~63) + hb_ctz(rest)

    cdef int64_t _first_set_after(self, int64_t word) noexcept nogil:
        """The first set bit after a word of the last level, which has been examined, or -1."""
        cdef int64_t level = LAST
        cdef uint64_t rest = 0
        while rest == 0:
            if level == 0:
                hb_count(self.examined, LEVELS)
                return -1
            level -= 1
            # Bits after this word's own; twice one bit, since a shift by 64 is not defined.
            rest = self.levels[level][word >> 6] & (from_bit(word) << 1)
            word >>= 6
        hb_count(self.examined, 2 * LAST + 1 - 2 * level)    # up to here, and as many down again
        while level < LAST:
            word = (word << 6) + hb_ctz(rest)
            level += 1
            rest = self.levels[level][word]
        return (word << 6) + hb_ctz(rest)

    cdef inline int64_t _step(self, int64_t *word, uint64_t *ahead) noexcept nogil:
        """The next set bit of a walk, or -1 at its end, where ``word`` becomes -1.

        ``ahead`` is a mask of the word's bits that the walk has not passed. It stays in a register,
        so that a step waits for no load.
        """
        cdef uint64_t rest
        cdef int64_t found
        if word[0] < 0:
            return -1
        rest = self.levels[LAST][word[0]] & ahead[0]
        if rest:
            hb_count(self.examined, 1)
        else:
            found = self._first_set_after(word[0])
            word[0] = found >> 6    # of -1, it is -1
            if found < 0:
                return -1
            rest = self.levels[LAST][word[0]]
        ahead[0] = rest & (rest - 1)    # clears the lowest set bit
        return (word[0] << 6) + hb_ctz(rest)

    cdef int64_t _first_zero(self, int64_t bit, int64_t last) noexcept nogil:
        """The first zero bit from ``bit`` to ``last``, or -1: word by word on the last level."""
        cdef const uint64_t *first_word = self.levels[LAST] + (bit >> 6)
        cdef const uint64_t *end = self.levels[LAST] + (last >> 6) + 1
        cdef const uint64_t *word = first_word
        cdef uint64_t zeros = ~word[0] & from_bit(bit)
        if zeros == 0:
            word += 1
            while word != end and word[0] == UINT64_MAX:
                word += 1
            if word == end:
                hb_count(self.examined, word - first_word)
                return -1
            zeros = ~word[0]
        hb_count(self.examined, word - first_word + 1)
        bit = ((word - self.levels[LAST]) << 6) + hb_ctz(zeros)
        return bit if bit <= last else -1

    cdef inline int64_t _next_dirty(self, int64_t start, int64_t count) noexcept nogil:
        """``next_dirty`` on C integers; start and count are 0 or more."""
        cdef int64_t found
        if start >= self._size or count == 0:
            return -1
        count = min(count, self._size - start)
        found = self._first_set(start >> self._granularity)
        if found < 0:
            return -1
        found = max(found << self._granularity, start)
        return found if found - start < count else -1

    cdef inline int64_t _next_zero(self, int64_t start, int64_t count) noexcept nogil:
        """``next_zero`` on C integers; start and count are 0 or more."""
        cdef int64_t found
        if start >= self._size or count == 0:
            return -1
        count = min(count, self._size - start)
        found = self._first_zero(
            start >> self._granularity, (start + count - 1) >> self._granularity
        )
        return max(found << self._granularity, start) if found >= 0 else -1

    cdef inline int64_t _next_dirty_area(
        self, int64_t start, int64_t stop, int64_t *count
    ) noexcept nogil:
        """``next_dirty_area`` up to ``stop``, at most the size: its start or -1, its count cut."""
        cdef int64_t dirty = self._next_dirty(start, stop - start) if start < stop else -1, zero
        if dirty >= 0:
            count[0] = min(count[0], stop - dirty)
            zero = self._next_zero(dirty, count[0])
            if zero >= 0:
                count[0] = zero - dirty
        return dirty

    cdef inline bint _status(self, int64_t start, int64_t *count) noexcept nogil:
        """``status`` of a range inside the bitmap: its first item's bit; ``count`` is cut."""
        cdef int64_t edge = self._next_dirty(start, count[0])
        cdef bint dirty = edge == start
        if dirty:
            edge = self._next_zero(start, count[0])
        if edge >= 0:
            count[0] = edge - start
        return dirty

    def get(self, item):
        """True if the item's bit is set. Cost: O(1), one word, which isn't a search.

        Raises ``ValueError`` outside the bitmap.
        """
        self._refuse_unfinished()
        cdef int64_t bit = as_natural(item, "item")
        if bit >= self._size:
            raise ValueError(f"an item must be below the size {self._size}, not {item}")
        bit >>= self._granularity
        return (self.levels[LAST][bit >> 6] >> (bit & 63)) & 1 == 1

    def next_dirty(self, start, count=None):
        """The first item in [start, start + count) whose bit is set, or -1.

        ``count`` None means up to the end; a count past the end is clipped, a count of 0 or a
        start at or past the end finds nothing. A bit that begins before ``start`` gives ``start``.
        Equal to ``min(i for i in range(start, start + count) if get(i))``.
        Cost: one word of each level on an empty bitmap, at most 13 words on any; ``count`` is
        compared with afterwards, as in QEMU.
        Raises ``ValueError`` for a negative start or count.
        """
        self._refuse_unfinished()
        cdef int64_t n = INT64_MAX if count is None else as_natural(count, "count")
        return self._next_dirty(as_natural(start, "start"), n)

    def next_zero(self, start, count=None):
        """The first item in [start, start + count) whose bit is clear, or -1.

        Bounds as for ``next_dirty``.
        Cost: every word of the last level from start's word to the one found, or to the end of
        the range. The upper levels can't help: they say "not empty", never "full".
        Raises ``ValueError`` for a negative start or count.
        """
        self._refuse_unfinished()
        cdef int64_t n = INT64_MAX if count is None else as_natural(count, "count")
        return self._next_zero(as_natural(start, "start"), n)

    def next_dirty_area(self, start, end, max_dirty_count):
        """The first dirty run in [start, end), as (start, count), or None.

        The run is cut at ``end``, at the size, and at ``max_dirty_count`` items.
        Cost: a ``next_dirty`` and a ``next_zero`` over the run.
        Raises ``ValueError`` for negative bounds or a ``max_dirty_count`` under 1.
        """
        self._refuse_unfinished()
        cdef int64_t first = as_natural(start, "start")
        cdef int64_t stop = min(as_natural(end, "end"), self._size)
        cdef int64_t limit = as_item(max_dirty_count), dirty
        if limit < 1:
            raise ValueError(f"max_dirty_count must be 1 or more, not {max_dirty_count}")
        dirty = self._next_dirty_area(first, stop, &limit)
        return (dirty, limit) if dirty >= 0 else None

    def status(self, start, count):
        """(is the first item dirty, length of the run of that value from ``start``).

        The run is cut at ``count``.
        Cost: a ``next_dirty`` and, if the first item is dirty, a ``next_zero``.
        Raises ``ValueError`` when count is 0 or the range isn't inside the bitmap.
        """
        self._refuse_unfinished()
        cdef int64_t first = as_natural(start, "start")
        cdef int64_t n = as_natural(count, "count")
        if n == 0:
            raise ValueError("status needs a count of 1 or more, not 0")
        self._refuse_outside(first, n, start, count)
        cdef bint dirty = self._status(first, &n)
        return dirty, n

    # ------------------------------------------------------------ walk

    def __iter__(self):
        return self.iter_from(0)

    def iter_from(self, start):
        """The start item of each set bit, in order, from start's own group on.

        Bits reset ahead of the walk are not visited; bits set ahead of it may be missed.
        Cost: a ``next_dirty`` a step, of one word where bits lie in the same word. Raises
        ``ValueError`` for a negative start, and the iterator raises ``RuntimeError`` once the
        bitmap has been truncated.
        """
        self._refuse_unfinished()
        cdef int64_t first = as_natural(start, "start")
        return _Walk(self, first >> self._granularity if first < self._size else self.n_bits)

    def to_array(self):
        """The start item of each set bit: int64, shape (set bits,).

        Equal to ``np.array(list(self))``. Cost: one pass over the words; 8 bytes a set bit.
        """
        self._refuse_unfinished()
        array = np.empty(self.n_set, dtype=np.int64)
        if self.n_set:
            self._write_starts(array)
        return array

    cdef void _write_starts(self, int64_t[::1] out):
        cdef const uint64_t *words = self.levels[LAST]
        cdef int64_t *to = &out[0]
        cdef const int64_t *end = to + out.shape[0]
        cdef int64_t word, n = self.n_words[LAST]
        cdef int shift = self._granularity
        for word in range(n):
            if words[word] == 0:
                continue
            if end - to >= 72 and hb_popcount(words + word, 1) >= 8:
                to = write_dense(to, words[word], word << 6, shift)
            else:
                to = write_sparse(to, words[word], word << 6, shift)

    def to_runs(self):
        """The dirty runs as rows (start, count): int64, shape (runs, 2), cut at the size.

        Equal to calling ``next_dirty_area`` again and again. Cost: two passes over the words.
        """
        self._refuse_unfinished()
        runs = np.empty((self._n_runs(), 2), dtype=np.int64)
        if len(runs):
            self._write_edges(runs.reshape(-1))
            runs[:, 1] -= runs[:, 0]
        return runs

    cdef int64_t _n_runs(self) noexcept nogil:
        """Runs of set bits: set bits whose lower neighbour is clear."""
        cdef int64_t word, n = 0
        cdef uint64_t here, starts, carry = 0
        for word in range(self.n_words[LAST]):
            here = self.levels[LAST][word]
            starts = here & ~((here << 1) | carry)
            n += hb_popcount(&starts, 1)
            carry = here >> 63
        return n

    cdef void _write_edges(self, int64_t[::1] out):
        """The first item of each run and the first item behind it, in turn."""
        cdef int64_t word, bit, i = 0
        cdef uint64_t here, edges, carry = 0
        for word in range(self.n_words[LAST]):
            here = self.levels[LAST][word]
            edges = here ^ ((here << 1) | carry)    # a bit that differs from its neighbour
            while edges:
                bit = (word << 6) + hb_ctz(edges)
                out[i] = bit << self._granularity if bit < self.n_bits else self._size
                i += 1
                edges &= edges - 1
            carry = here >> 63
        if carry:    # a run up to the last bit of the last word: no edge behind it
            out[i] = self._size

    # ------------------------------------------------------------ whole

    def copy(self):
        """An independent bitmap with the same size, granularity and bits; its counter is 0.

        Cost: one pass over the words.
        """
        self._refuse_unfinished()
        cdef HBitmap twin = type(self)(self._size, self._granularity)
        cdef int level
        for level in range(LEVELS):
            memcpy(twin.levels[level], self.levels[level], self.n_words[level] * sizeof(uint64_t))
        twin.n_set = self.n_set
        return twin

    def __eq__(self, other):
        if not isinstance(other, HBitmap):
            return NotImplemented
        return self._equals(<HBitmap>other)

    __hash__ = None

    cdef bint _equals(self, HBitmap other) except -1:
        self._refuse_unfinished()
        other._refuse_unfinished()
        if self._size != other._size or self._granularity != other._granularity:
            return False
        if self.n_set != other.n_set:
            return False
        return memcmp(
            self.levels[LAST], other.levels[LAST], self.n_words[LAST] * sizeof(uint64_t)
        ) == 0

    def sha256(self):
        """Hex digest of the last level's words, little-endian, at least one word.

        The same as QEMU's ``x-debug-block-dirty-bitmap-sha256`` of an equal bitmap.
        """
        return hashlib.sha256(self.words.astype("<u8", copy=False)).hexdigest()

    @property
    def words(self):
        """The last level: a read-only view, uint64, shape (max(1, ceil(bits / 64)),).

        Bit i of word w is bit ``64 * w + i``. The view shows later updates; while it is alive
        the bitmap can't be truncated to another number of bits.
        """
        return np.frombuffer(self, dtype=np.uint64)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        if flags & PyBUF_WRITABLE:
            raise BufferError("an HBitmap's words are read-only: use set and reset")
        self._refuse_unfinished()
        self.view_shape[0] = self.n_words[LAST]
        self.view_strides[0] = sizeof(uint64_t)
        buffer.buf = self.levels[LAST]
        buffer.obj = self
        buffer.len = self.n_words[LAST] * sizeof(uint64_t)
        buffer.readonly = 1
        buffer.itemsize = sizeof(uint64_t)
        buffer.format = b"Q"
        buffer.ndim = 1
        buffer.shape = self.view_shape
        buffer.strides = self.view_strides
        buffer.suboffsets = NULL
        buffer.internal = NULL
        self.n_views += 1

    def __releasebuffer__(self, Py_buffer *buffer):
        self.n_views -= 1

    # ------------------------------------------------------------ parts

    @property
    def serialization_align(self):
        """Items that one word holds: ``64 << granularity``. Parts begin at multiples of it."""
        return <object>64 << self._granularity

    cdef int _find_part(self, start, count, int64_t *word, int64_t *n) except -1:
        """The first word of a part, and how many; ``ValueError`` for one that can't be."""
        cdef int64_t first = as_natural(start, "start"), mask = self._group_mask(), last_bit
        cdef uint64_t items = as_length(count)
        cdef uint64_t rounded_up = <uint64_t>self.n_bits << self._granularity
        word[0] = n[0] = 0
        if items == 0:
            return 0
        if first < self._size and items == rounded_up - <uint64_t>first:
            items = self._size - first
        self._refuse_outside(first, items, start, count)
        last_bit = (first + <int64_t>items - 1) >> self._granularity
        if (
            first & mask
            or (first >> self._granularity) & 63
            or (last_bit != self.n_bits - 1 and (items & mask or (last_bit & 63) != 63))
        ):
            raise ValueError(
                f"a part begins at a multiple of {self.serialization_align} items, and ends at "
                f"one or with the last bit: not start {start}, count {count}"
            )
        word[0] = first >> self._granularity >> 6
        n[0] = (last_bit >> 6) - word[0] + 1
        return 0

    def serialize_part(self, start, count):
        """The words that hold ``count`` items from ``start``: bytes, 8 little-endian ones a word.

        Both are multiples of ``serialization_align``, but for the count of a part with the last
        bit. A count of 0 gives no bytes.
        Cost: one pass over the part's words.
        Raises ``ValueError`` for other parts, and those not inside the bitmap.
        """
        cdef int64_t word, n
        self._refuse_unfinished()
        self._find_part(start, count, &word, &n)
        return self.words[word : word + n].astype("<u8", copy=False).tobytes()

    def deserialize_part(self, data, start, count, finish):
        """Replace the words of a part by those that ``serialize_part`` gave for it.

        Bits past the end are dropped. Until ``deserialize_finish``, or a call with ``finish``
        true, every search and update, and all that shows bits, raises ``RuntimeError``.
        Cost: one pass over the part's words, and over all of them to finish.
        Raises ``ValueError`` for a part as ``serialize_part``, and for ``data`` of another length;
        nothing is changed then.
        """
        cdef int64_t word, n
        cdef const uint64_t[::1] words
        self._find_part(start, count, &word, &n)
        content = memoryview(data).cast("B")
        if len(content) != n * 8:
            raise ValueError(f"this part has {n * 8} bytes of data, not {len(content)}")
        if n:
            # Also makes them aligned, and the machine's own.
            words = np.frombuffer(content, dtype="<u8").astype(np.uint64)
            self._begin()
            memcpy(self.levels[LAST] + word, &words[0], n * sizeof(uint64_t))
        self._end_part(finish)

    def deserialize_zeroes(self, start, count, finish):
        """As ``deserialize_part`` of zeros alone."""
        self._fill_part(start, count, False, finish)

    def deserialize_ones(self, start, count, finish):
        """As ``deserialize_part`` of ones alone; none is set past the end."""
        self._fill_part(start, count, True, finish)

    cdef int _fill_part(self, start, count, bint ones, finish) except -1:
        cdef int64_t word, n
        self._find_part(start, count, &word, &n)
        if n:
            self._begin()
            memset(self.levels[LAST] + word, 0xff if ones else 0, n * sizeof(uint64_t))
        self._end_part(finish)
        return 0

    cdef void _begin(self) noexcept:
        """From now on the upper levels and the count are wrong."""
        self.unfinished = True
        self.generation += 1

    cdef int _end_part(self, finish) except -1:
        cdef int64_t n = self.n_words[LAST]
        self.levels[LAST][n - 1] &= up_to_bit(self.n_bits - 1) if self.n_bits else 0
        if finish:
            self.deserialize_finish()
        return 0

    def deserialize_finish(self):
        """Make the bitmap whole after parts were deserialized: upper levels and count.

        What no part has replaced is as before.
        Cost: one pass over the words.
        """
        self.n_set = hb_popcount(self.levels[LAST], self.n_words[LAST])
        self._rebuild_upper()
        self.unfinished = False

    cdef inline int _refuse_unfinished(self) except -1:
        if self.unfinished:
            raise RuntimeError("a deserialization goes on: call deserialize_finish() first")
        return 0

    # ------------------------------------------------------------ counters

    @property
    def words_examined(self):
        """Words that searches have read since the start or ``reset_counters``, each load once.

        Searches are ``next_dirty``, ``next_zero``, ``next_dirty_area``, ``status`` and iteration;
        words of every level count.
        """
        return self.examined

    def reset_counters(self):
        """Set ``words_examined`` back to 0."""
        self.examined = 0

    def _check(self):
        """Raise ``AssertionError`` if an invariant is broken. Cost: one pass over all words."""
        self._refuse_unfinished()
        cdef int level
        cdef int64_t i
        cdef uint64_t upper
        # The count is what the words hold.
        if self.n_set != hb_popcount(self.levels[LAST], self.n_words[LAST]):
            raise AssertionError(f"count says {self.n_set} bits, the words hold others")
        # No bit past the end is set.
        i = self.n_words[LAST] - 1
        if self.levels[LAST][i] & ~(up_to_bit(self.n_bits - 1) if self.n_bits else 0):
            raise AssertionError(f"a bit past the last one, {self.n_bits - 1}, is set")
        # Bit N of a level says that word N of the next level is not zero, and nothing else.
        for level in range(LAST):
            for i in range(self.n_words[level] * 64):
                upper = (self.levels[level][i >> 6] >> (i & 63)) & 1
                if upper != (i < self.n_words[level + 1] and self.levels[level + 1][i] != 0):
                    raise AssertionError(f"bit {i} of level {level} is {upper}, its word is not")


cdef class _Walk:
    """The iterator of an ``HBitmap``: a word, and a mask of its bits that are still ahead."""

    cdef HBitmap bitmap
    cdef int64_t word
    cdef uint64_t ahead
    cdef int64_t generation

    def __cinit__(self, HBitmap bitmap not None, int64_t bit):
        self.bitmap = bitmap
        self.word = bit >> 6 if bit < bitmap.n_bits else -1
        self.ahead = from_bit(bit)
        self.generation = bitmap.generation

    def __iter__(self):
        return self

    def __next__(self):
        cdef int64_t found
        if self.generation != self.bitmap.generation:
            raise RuntimeError("the bitmap was truncated or deserialized: begin a new iteration")
        found = self.bitmap._step(&self.word, &self.ahead)
        if found < 0:
            raise StopIteration
        return found << self.bitmap._granularity
