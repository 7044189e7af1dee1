"""What asv has stored: read, checked, and turned into seconds, exponents and changes."""
