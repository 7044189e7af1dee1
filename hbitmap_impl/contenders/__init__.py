"""Rivals of the two published access checks, one a module, behind the same protocol.

Each says what its idea is, what a question costs, and where the idea comes from. N is the number of
copy clusters, W = N / 64 the words of a bitmap's last level.
"""
