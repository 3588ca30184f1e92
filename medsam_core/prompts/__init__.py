"""Prompts: what they are, how they are simulated, stored and controlled. No torch."""
