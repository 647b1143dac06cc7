"""Rules for one task: prompts, dimensions, aggregation, and the report."""
