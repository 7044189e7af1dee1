"""Why a backup job stands at 0 right now, and how long it still will."""
