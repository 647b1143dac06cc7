"""The rules of one task: prompts, dimensions, aggregation, and the report."""
