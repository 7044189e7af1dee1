"""What each command finds and lacks on this host, and what noise its measurements will have."""
