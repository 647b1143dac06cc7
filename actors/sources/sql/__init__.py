"""A database as a source."""
