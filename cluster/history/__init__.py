"""What was asked about the items of a stored task, and what was answered."""
