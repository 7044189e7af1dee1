"""Scripts that check the project's own claims: speed, instructions, calibration."""
