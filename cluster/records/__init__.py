"""Reads and changes the records of runs in a store, without a cluster."""
