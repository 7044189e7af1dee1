"""QEMU's own commits as an asv project: its files, the build of a commit, and what suites call."""
