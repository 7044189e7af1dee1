"""The asv suites: what a commit of ``hbitmap_impl`` costs, as raw measurements.

They import ``hbitmap_impl`` and their own helpers alone, and that only once a benchmark is set up,
so that their names and parameters are the same on every commit. What a commit has not got is
skipped there. Nothing is scaled or fitted here: ``hbitmap_bench`` does that from stored results.

A result belongs to its benchmark's name, parameter names, parameters and version. Whoever changes
one of them starts a new history; ``tests/test_benchmarks.py`` makes that visible. What a benchmark
*measures* must not change under the same version either.

================  ============================================================================
``buildup``       a build-up: seconds, words examined, words a query
``access_check``  checks at the start, the middle and the end of the disk
``bitmap_ops``    set, reset, iterate, merge, invert, status, serialize
``memory``        bytes of each structure, peak memory of a build-up
================  ============================================================================
"""
