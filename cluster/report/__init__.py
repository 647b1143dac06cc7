"""What people and programs see of a run: result files, tables, pages, progress."""
