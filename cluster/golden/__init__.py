"""The golden set of a run: what people decided about its answers, and how the answers compare with it."""
