"""A synthetic cohort in BraTS layout, written from a seed."""
