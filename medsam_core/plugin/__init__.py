"""The pytest plugin: options, hooks, fixtures, and the two sides of a session."""
