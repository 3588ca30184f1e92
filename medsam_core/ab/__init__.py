"""Is NEW worse than OLD? Two runs on the same prompted volumes, and their comparison: `medsam-core ab`."""
