"""Which functions have the time of a build-up."""
