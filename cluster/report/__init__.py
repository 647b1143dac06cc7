"""Presents a run: result files, tables, the report page, progress."""
