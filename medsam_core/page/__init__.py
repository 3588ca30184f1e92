"""The page of a run: one HTML file that a person opens, finds the cause in, and sends on."""
