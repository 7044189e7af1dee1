# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: embedsignature=True, freethreading_compatible=False
"""Entries of qcow2's L2 tables, compiled: a pass over a 10T image looks at 168 million of them.

A standard entry is one big-endian word. An extended one has a second word, a bitmap: for each of
the cluster's 32 subclusters a bit "allocated" in the low half, and a bit "reads as zeros" in the
high half.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #if defined(__GNUC__) || defined(__clang__)
    #define q2_ctz(word) __builtin_ctzll(word)
    #else
    #include <intrin.h>
    static __inline int q2_ctz(unsigned __int64 word) {
        unsigned long index;
        _BitScanForward64(&index, word);
        return (int)index;
    }
    #endif
    """
    int q2_ctz(uint64_t word) noexcept nogil

cdef enum:
    C_INVALID = -1
    C_UNALLOCATED = 0
    C_RESERVED = 1
    C_ZERO_PLAIN = 2
    C_ZERO_ALLOC = 3
    C_NORMAL = 4
    C_COMPRESSED = 5
    SUBCLUSTERS = 32

# Kinds of what a run of clusters holds. From ZERO_PLAIN on the image itself decides the content.
INVALID = C_INVALID              # against the format's rules
UNALLOCATED = C_UNALLOCATED
RESERVED = C_RESERVED            # unallocated subclusters of a cluster that has a place
ZERO_PLAIN = C_ZERO_PLAIN
ZERO_ALLOC = C_ZERO_ALLOC        # reads as zeros, but has a place
NORMAL = C_NORMAL
COMPRESSED = C_COMPRESSED

cdef uint64_t COPIED_FLAG = <uint64_t>1 << 63
cdef uint64_t COMPRESSED_FLAG = <uint64_t>1 << 62
cdef uint64_t ZERO_FLAG = 1
cdef uint64_t OFFSET_MASK = 0x00FFFFFFFFFFFE00    # bits 9 to 55


cdef inline uint64_t big_endian(const uint8_t *at) noexcept nogil:
    """The word at a place that need not be aligned. Compilers make one load of it."""
    return (
        <uint64_t>at[0] << 56 | <uint64_t>at[1] << 48 | <uint64_t>at[2] << 40 | <uint64_t>at[3] << 32
        | <uint64_t>at[4] << 24 | <uint64_t>at[5] << 16 | <uint64_t>at[6] << 8 | at[7]
    )


cdef inline int leading_run(uint32_t bits, int first) noexcept nogil:
    """How many bits from ``first`` on are set, one after the other."""
    return q2_ctz(~(<uint64_t>bits >> first))    # bits past the 32nd are clear: at most 32 - first


cdef class EntryReader:
    """How the L2 entries of one image read.

    ``cluster_bits`` is log2 of the cluster size, ``extended`` tells of extended entries,
    ``external`` of an external data file, in which a place may be offset 0.
    """

    cdef int cluster_bits
    cdef bint extended
    cdef bint external

    def __cinit__(self, int cluster_bits, bint extended, bint external):
        self.cluster_bits = cluster_bits
        self.extended = extended
        self.external = external

    cdef inline int cluster_kind(self, uint64_t entry) noexcept nogil:
        """The kind by the entry's first word alone."""
        if entry & COMPRESSED_FLAG:
            return C_COMPRESSED
        if entry & ZERO_FLAG and not self.extended:
            return C_ZERO_ALLOC if entry & OFFSET_MASK else C_ZERO_PLAIN
        if entry & OFFSET_MASK or (self.external and entry & COPIED_FLAG):
            return C_NORMAL
        return C_UNALLOCATED

    cdef inline int kind_of(self, const uint8_t *at, int sub, int *run) noexcept nogil:
        """The kind of subcluster ``sub`` of the entry at a place; to how many from it on it extends."""
        cdef int kind = self.cluster_kind(big_endian(at))
        cdef uint64_t both
        cdef uint32_t has_data, is_zero
        if not self.extended or kind == C_COMPRESSED:
            run[0] = (SUBCLUSTERS if self.extended else 1) - sub
            return kind
        both = big_endian(at + 8)
        has_data = <uint32_t>both
        is_zero = <uint32_t>(both >> 32)
        if has_data & (is_zero if kind == C_NORMAL else ~<uint32_t>0):
            return C_INVALID
        if is_zero >> sub & 1:
            run[0] = leading_run(is_zero, sub)
            return C_ZERO_ALLOC if kind == C_NORMAL else C_ZERO_PLAIN
        if has_data >> sub & 1:
            run[0] = leading_run(has_data, sub)
            return C_NORMAL
        run[0] = leading_run(~(has_data | is_zero), sub)
        return C_RESERVED if kind == C_NORMAL else C_UNALLOCATED

    def run(self, bytes piece not None, Py_ssize_t index, int sub, Py_ssize_t n_clusters):
        """The run that begins in entry ``index`` of ``piece``, whole entries, at subcluster ``sub``.

        It ends after ``n_clusters`` (or with the piece), where the kind changes, where places in
        the file stop following each other, and after a compressed cluster. Returns its kind, its
        length in subclusters (clusters, if the entries are not extended), and the first entry's
        first word. An entry against the rules, anywhere up to the end of the run, makes the kind
        ``INVALID``; then the length is the number of good subclusters before it.
        Cost: one look at each entry of the run. ``IndexError`` for an index outside the piece.
        """
        cdef int shift = 4 if self.extended else 3
        cdef int per_cluster = SUBCLUSTERS if self.extended else 1
        cdef Py_ssize_t n_entries = len(piece) >> shift
        cdef const uint8_t *at = piece
        cdef const uint8_t *end
        cdef uint64_t first, expected
        cdef int kind, found, length = 0
        cdef int64_t total
        cdef bint placed
        if not (0 <= index < n_entries and 0 <= sub < per_cluster and n_clusters > 0):
            raise IndexError(f"entry {index}.{sub} is not among the {n_entries} of a piece")
        end = at + (min(n_entries, index + n_clusters) << shift)
        at += index << shift
        first = big_endian(at)
        kind = self.kind_of(at, sub, &length)
        total = length
        if kind == C_INVALID or kind == C_COMPRESSED:
            return kind, 0 if kind == C_INVALID else total, first
        placed = kind == C_NORMAL or kind == C_ZERO_ALLOC or kind == C_RESERVED
        expected = first & OFFSET_MASK
        while sub + length == per_cluster:
            at += <Py_ssize_t>1 << shift
            if at >= end:
                break
            sub = 0
            found = self.kind_of(at, 0, &length)
            if found == C_INVALID:
                return C_INVALID, total, first
            expected += <uint64_t>1 << self.cluster_bits
            if found != kind or (placed and big_endian(at) & OFFSET_MASK != expected):
                break
            total += length
        return kind, total, first
