"""The engine: from a volume and prompts to masks. Each module is imported by its own name; this one imports nothing."""
