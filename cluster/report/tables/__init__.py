"""The tables of a run, `reports` and `items`: their columns, their order, their formats and where they go."""
