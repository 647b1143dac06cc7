"""Compares two runs, or two tables of results: pairs their answers by key, and says how they differ."""
