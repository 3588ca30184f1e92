"""The runs of shards become one run, or a sentence says why not."""
