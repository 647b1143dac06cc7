"""The questions about the items of a stored task, and the answers to them."""
