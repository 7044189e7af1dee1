"""Scripts that check the project's own claims, and what they share; each is a tox environment."""
