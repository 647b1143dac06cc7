"""Readers of the files that tasks come from: CSV, TSV, JSON lines, Parquet, stdin and URLs."""
