"""One subject from its files to its records, and why a case fails."""
