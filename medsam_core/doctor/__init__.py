"""What is wrong or odd with a cohort, found from its files alone, without a model."""
