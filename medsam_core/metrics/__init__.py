"""From two masks to scores; numpy and scipy only, usable by itself."""
