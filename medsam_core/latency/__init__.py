"""Stage times, compared."""
