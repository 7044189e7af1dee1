"""What is written out for an asv project of QEMU: suites, and a driver in C."""
