"""For operators: whether a backup will stall, why one stands still, what takes its time."""
