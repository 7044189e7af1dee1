# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, embedsignature=True, freethreading_compatible=False
"""Three kinds of HBitmap with another search for a zero bit. All else is HBitmap's own."""

from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from libc.stdint cimport UINT64_MAX, int64_t, uint64_t
from libc.string cimport memset

from hbitmap_impl.hbitmap cimport (
    LAST, LEVELS, HBitmap, all_nonzero, from_bit, hb_count, hb_ctz, put_bits, summarize,
    up_to_bit, words_for,
)

cdef extern from *:
    """
    /* How many words from the first on are all ones: block by block of 16, then one by one.
       Baseline x86-64 has vectors of two words; larger ones are chosen when the module is
       imported, as a wheel must run anywhere. */
    static int64_t hb_words_of_ones(const uint64_t *words, int64_t i, int64_t n) {
        while (i < n && words[i] == ~(uint64_t)0) i++;
        return i;
    }
    static int64_t hb_ones_portable(const uint64_t *words, int64_t n) {
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            uint64_t all = ~(uint64_t)0;
            for (int j = 0; j < 16; j++) all &= words[i + j];
            if (all != ~(uint64_t)0) break;
        }
        return hb_words_of_ones(words, i, n);
    }
    static int64_t (*hb_ones)(const uint64_t *, int64_t) = hb_ones_portable;
    static const char *hb_vectors = "portable";

    #if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
    #include <immintrin.h>
    __attribute__((target("avx2")))
    static int64_t hb_ones_avx2(const uint64_t *words, int64_t n) {
        const __m256i ones = _mm256_set1_epi64x(-1);
        int64_t i = 0;
        for (; i + 16 <= n; i += 16) {
            const __m256i *at = (const __m256i *)(words + i);
            __m256i low = _mm256_and_si256(_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1));
            __m256i high = _mm256_and_si256(_mm256_loadu_si256(at + 2), _mm256_loadu_si256(at + 3));
            if (!_mm256_testc_si256(_mm256_and_si256(low, high), ones)) break;
        }
        return hb_words_of_ones(words, i, n);
    }
    static void hb_choose_vectors(void) {
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx2")) {
            hb_ones = hb_ones_avx2;
            hb_vectors = "avx2";
        }
    }
    #else
    static void hb_choose_vectors(void) {}
    #endif
    """
    const char *hb_vectors
    int64_t hb_ones(const uint64_t *words, int64_t n) noexcept nogil
    void hb_choose_vectors() noexcept nogil

cdef enum:
    BLOCK_WORDS = 16    # of hb_ones: two lines of the cache

hb_choose_vectors()

VECTORS = hb_vectors.decode()    # what this processor is given, for reports of speed


cdef class WideHBitmap(HBitmap):
    """An HBitmap that looks for a zero bit in blocks of 16 words, by the processor's vectors.

    ``next_zero`` reads the same words as that of ``HBitmap``, and up to 15 behind them.
    """

    cdef int64_t _first_zero(self, int64_t bit, int64_t last) noexcept nogil:
        cdef const uint64_t *words = self.levels[LAST]
        cdef int64_t word = bit >> 6, n = (last >> 6) - word, full, read
        cdef uint64_t zeros = ~words[word] & from_bit(bit)
        hb_count(self.examined, 1)
        if zeros == 0:
            full = hb_ones(words + word + 1, n)
            read = (full | (BLOCK_WORDS - 1)) + 1    # to the end of its block
            hb_count(self.examined, read if read <= n else min(full + 1, n))    # one by one
            if full == n:
                return -1
            word += full + 1
            zeros = ~words[word]
        bit = (word << 6) + hb_ctz(zeros)
        return bit if bit <= last else -1


cdef class TwoSidedHBitmap(HBitmap):
    """An HBitmap with upper levels for clear bits as well: both searches use levels.

    ``zeros[k]`` is to the clear bits what ``levels[k]`` is to the set ones: bit N says that word N
    of the level below has one. The last level is shared. ``next_zero`` reads at most 13 words.

    Memory: 1/63 more. An update touches both sides' upper levels; ``merge``, ``invert``,
    ``reset_all``, ``copy`` and ``truncate`` make those of the clear bits anew: one more pass over
    all words, none where no bit is set.
    """

    cdef uint64_t *zeros[LAST]

    def __cinit__(self, size, granularity=0):
        self._reserve(self.n_bits)
        self._rebuild_zeros()

    def __dealloc__(self):
        cdef int level
        for level in range(LAST):
            PyMem_RawFree(self.zeros[level])

    cdef int _reserve(self, int64_t bits) except -1:
        """Room in the levels of clear bits for so many bits, and for those that there are."""
        cdef int64_t n = words_for(bits)
        cdef int level
        cdef uint64_t *words
        for level in range(LAST - 1, -1, -1):
            n = words_for(n)
            words = <uint64_t *>PyMem_RawRealloc(
                self.zeros[level], max(n, self.n_words[level]) * sizeof(uint64_t)
            )
            if words == NULL:
                raise MemoryError(f"no memory for the levels of {bits} clear bits")
            self.zeros[level] = words
        return 0

    cdef inline bint _has_zero(self, int64_t word) noexcept nogil:
        """Is a bit clear in a word of the last level? Those past the end are none."""
        cdef uint64_t valid = UINT64_MAX
        if word == self.n_words[LAST] - 1:
            valid = up_to_bit(self.n_bits - 1) if self.n_bits else 0
        return self.levels[LAST][word] & valid != valid

    cdef void _rebuild_zeros(self) noexcept nogil:
        cdef int64_t word, n = self.n_words[LAST]
        cdef uint64_t *lowest = self.zeros[LAST - 1]
        cdef int level
        memset(lowest, 0, self.n_words[LAST - 1] * sizeof(uint64_t))
        if self.n_set == 0 and self.n_bits:    # without a look at words that nobody has touched
            put_bits(lowest, 0, n - 1, True)
        else:
            for word in range(n):
                lowest[word >> 6] |= <uint64_t>self._has_zero(word) << (word & 63)
        for level in range(LAST - 1, 0, -1):
            summarize(self.zeros[level], self.n_words[level], self.zeros[level - 1])

    cdef void _set_bits(self, int64_t first, int64_t last) noexcept nogil:
        cdef int level = LAST
        HBitmap._set_bits(self, first, last)
        # Only the words at both ends can have clear bits left.
        first = (first >> 6) + self._has_zero(first >> 6)
        last = (last >> 6) - self._has_zero(last >> 6)
        while first <= last:
            level -= 1
            if put_bits(self.zeros[level], first, last, False) == 0 or level == 0:
                return    # nothing that the level above tells of has changed
            first = (first >> 6) + (self.zeros[level][first >> 6] != 0)
            last = (last >> 6) - (self.zeros[level][last >> 6] != 0)

    cdef void _reset_bits(self, int64_t first, int64_t last) noexcept nogil:
        cdef int level = LAST
        cdef bint told = False
        HBitmap._reset_bits(self, first, last)
        while not told and level > 0:
            level -= 1
            first >>= 6
            last >>= 6
            told = all_nonzero(self.zeros[level], first >> 6, last >> 6)
            put_bits(self.zeros[level], first, last, True)

    cdef int64_t _first_zero(self, int64_t bit, int64_t last) noexcept nogil:
        cdef uint64_t rest = ~self.levels[LAST][bit >> 6] & from_bit(bit)
        if rest:
            hb_count(self.examined, 1)
            bit = (bit & ~63) + hb_ctz(rest)
        else:
            bit = self._first_zero_after(bit >> 6)
        return bit if bit <= last else -1

    cdef int64_t _first_zero_after(self, int64_t word) noexcept nogil:
        """The first zero bit after a word of the last level, which has been examined, or -1."""
        cdef int64_t level = LAST
        cdef uint64_t rest = 0
        while rest == 0:
            if level == 0:
                hb_count(self.examined, LEVELS)
                return -1
            level -= 1
            rest = self.zeros[level][word >> 6] & (from_bit(word) << 1)
            word >>= 6
        hb_count(self.examined, 2 * LAST + 1 - 2 * level)
        while level < LAST:
            word = (word << 6) + hb_ctz(rest)
            level += 1
            rest = self.zeros[level][word] if level < LAST else ~self.levels[LAST][word]
        return (word << 6) + hb_ctz(rest)

    cdef void _merge_words(self, HBitmap other) noexcept:
        HBitmap._merge_words(self, other)
        self._rebuild_zeros()

    cdef void _rebuild_upper(self) noexcept nogil:
        HBitmap._rebuild_upper(self)
        self._rebuild_zeros()

    cdef int _truncate(self, int64_t size, int64_t bits) except -1:
        self._reserve(bits)    # which may fail: nothing has changed yet
        HBitmap._truncate(self, size, bits)
        self._give_back()
        self._rebuild_zeros()
        return 0

    cdef void _give_back(self) noexcept:
        """Free the room behind the words that there are; where that fails, it stays."""
        cdef int level
        cdef uint64_t *words
        for level in range(LAST):
            words = <uint64_t *>PyMem_RawRealloc(
                self.zeros[level], self.n_words[level] * sizeof(uint64_t)
            )
            if words != NULL:
                self.zeros[level] = words

    def truncate(self, size):
        """As ``HBitmap.truncate``. Cost: one pass over all words besides, if a bit is set."""
        HBitmap.truncate(self, size)

    def reset_all(self):
        """Clear every bit. Cost: one pass over all words."""
        HBitmap.reset_all(self)
        self._rebuild_zeros()

    def copy(self):
        """An independent bitmap of this kind. Cost: two passes over the words."""
        cdef TwoSidedHBitmap twin = HBitmap.copy(self)
        twin._rebuild_zeros()
        return twin

    def __sizeof__(self):
        cdef int level
        n_words = sum([self.n_words[level] for level in range(LAST)])
        return HBitmap.__sizeof__(self) + n_words * sizeof(uint64_t)

    def _check(self):
        """Raise ``AssertionError`` if an invariant is broken. Cost: one pass over all words."""
        cdef int level
        cdef int64_t i
        cdef bint expected
        HBitmap._check(self)
        for level in range(LAST):
            for i in range(self.n_words[level] * 64):
                expected = i < self.n_words[level + 1] and (
                    self._has_zero(i) if level == LAST - 1 else self.zeros[level + 1][i] != 0
                )
                if (self.zeros[level][i >> 6] >> (i & 63)) & 1 != expected:
                    raise AssertionError(f"bit {i} of level {level} of clear bits is wrong")


cdef class RememberingHBitmap(HBitmap):
    """An HBitmap that remembers one run of set bits, which a search for a zero has seen.

    A search that begins in the run goes on behind it, so that searches within one run read each of
    its words once altogether, and none where nothing has changed. A search behind the run remembers
    its own instead; one before it does so if its run is no shorter. So searches in another run than
    the remembered one may read theirs each time, as ``HBitmap`` does.

    Memory: 16 bytes.
    """

    cdef int64_t run_first, run_end    # bits that are set; the run may be empty

    cdef int64_t _first_zero(self, int64_t bit, int64_t last) noexcept nogil:
        cdef int64_t found
        if bit < self.run_first < self.run_end:
            found = HBitmap._first_zero(self, bit, min(last, self.run_first - 1))
            if found >= 0 or last < self.run_first:
                self._keep_longer(bit, found if found >= 0 else last + 1)
                return found
            self.run_first = bit    # what lies between is set as well
        elif not self.run_first <= bit < self.run_end:
            self.run_first = self.run_end = bit
        if self.run_end > last:
            return -1
        found = HBitmap._first_zero(self, self.run_end, last)
        self.run_end = found if found >= 0 else last + 1
        return found

    cdef void _keep_longer(self, int64_t first, int64_t end) noexcept nogil:
        """Remember the run before the remembered one, if it is no shorter."""
        if end - first >= self.run_end - self.run_first:
            self.run_first = first
            self.run_end = end

    cdef void _reset_bits(self, int64_t first, int64_t last) noexcept nogil:
        HBitmap._reset_bits(self, first, last)
        if first >= self.run_end or last < self.run_first:
            return
        if first - self.run_first >= self.run_end - 1 - last:    # the longer of both that are left
            self.run_end = max(first, self.run_first)
        else:
            self.run_first = last + 1

    cdef void _rebuild_upper(self) noexcept nogil:
        HBitmap._rebuild_upper(self)
        self.run_end = self.run_first    # any bit may have changed

    def reset_all(self):
        """Clear every bit. Cost: one pass over all words."""
        HBitmap.reset_all(self)
        self.run_end = self.run_first

    def _check(self):
        """Raise ``AssertionError`` if an invariant is broken. Cost: one pass over all words."""
        HBitmap._check(self)
        if self.run_first < self.run_end:
            if self.run_end > self.n_bits or HBitmap._first_zero(
                self, self.run_first, self.run_end - 1
            ) >= 0:
                raise AssertionError("a bit of the remembered run is clear")
