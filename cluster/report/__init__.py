"""Presents a run: result files, tables, progress, causes of failure."""
