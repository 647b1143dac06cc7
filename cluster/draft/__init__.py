"""Writes a first configuration for a table. `headrace init` uses it."""
