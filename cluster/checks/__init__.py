"""Checks the machine, the store and the endpoints before a run."""
