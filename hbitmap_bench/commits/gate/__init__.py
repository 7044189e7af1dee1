"""The gate: did a change make things slower? Measured interleaved, judged from stored results.

================  ==========================================================================
``sides``         which two commits, and what of them is measured
``variants``      two environments of one commit, where those are compared
``environments``  a virtual environment a side, with that commit's wheel in it
``suites``        the benchmarks of a commit, and which cells a profile takes
``session``       asv measures both sides, cell by cell in turn; a results folder a round and side
``runs``          a stored run: what ``session`` wrote, checked and read into arrays
``paired``        statistics of paired rounds, pure functions
``judge``         verdicts from a stored run
``thresholds``    every threshold by name, with its reason
``resolution``    what this machine can resolve, from a commit against itself
``steepness``     the growth exponent against its limit and the base's
``verdict``       a judgement; as text, JSON, Markdown, GitHub annotations: ``verdict_...``
================  ==========================================================================
"""

LOCAL = "local"
"""What a machine is called that nobody has named."""

BUDGET_S = 300.0
"""For more rounds: as much again as the quick profile's first pass takes."""
