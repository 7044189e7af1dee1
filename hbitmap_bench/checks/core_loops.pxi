

# ---------------------------------------------------------------- loops over the core, in C
# checks/kernels.py puts them behind the core's source and compiles both. Each does what the
# driver's operation of that name does with QEMU's, and gives what that answers last.

def loop_set(HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t count):
    cdef int shift = bitmap._granularity
    cdef int64_t i
    for i in range(n):
        bitmap._set_bits(start >> shift, (start + count - 1) >> shift)
        start += step


def loop_reset(HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t count):
    cdef int shift = bitmap._granularity
    cdef int64_t i
    for i in range(n):
        bitmap._reset_bits(start >> shift, (start + count - 1) >> shift)
        start += step


def loop_next_dirty(HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t count):
    cdef int64_t i, found = -1
    for i in range(n):
        found = bitmap._next_dirty(start, count)
        start += step
    return found


def loop_next_zero(HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t count):
    cdef int64_t i, found = -1
    for i in range(n):
        found = bitmap._next_zero(start, count)
        start += step
    return found


def loop_next_dirty_area(
    HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t end, int64_t limit
):
    cdef int64_t i, found = -1, count = 0
    for i in range(n):
        count = limit
        found = bitmap._next_dirty_area(start, min(end, bitmap._size), &count)
        start += step
        end += step
    return found, count


def loop_status(HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t count):
    cdef int64_t i, length = 0
    cdef bint dirty = False
    for i in range(n):
        length = count
        dirty = bitmap._status(start, &length)
        start += step
    return dirty, length


def loop_iterate(HBitmap bitmap not None, int64_t n, int64_t step, int64_t start, int64_t limit):
    cdef int64_t i, bit, word, left = 0, last = -1
    cdef uint64_t ahead, total = 0
    for i in range(n):
        left = limit
        bit = start >> bitmap._granularity
        word, ahead = bit >> 6 if bit < bitmap.n_bits else -1, from_bit(bit)
        while left and (bit := bitmap._step(&word, &ahead)) >= 0:
            last = bit << bitmap._granularity
            total += last
            left -= 1
    return limit - left, last, total & INT64_MAX


def loop_merge(HBitmap bitmap not None, int64_t n, int64_t step, HBitmap other not None):
    cdef int64_t i
    for i in range(n):
        bitmap._merge(other)


def loop_truncate(HBitmap bitmap not None, int64_t n, int64_t step, int64_t size):
    cdef int64_t i
    for i in range(n):
        bitmap._truncate(size, bitmap._bits_for(size))
        size += step
