"""Where data about a task comes from."""
