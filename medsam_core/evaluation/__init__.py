"""One subject from its files to its records."""
