"""One batch run: its input, its course, its end."""
