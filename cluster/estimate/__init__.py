"""Estimates the cost and the time of a job: counts its prompts, and measures a random sample of its rows."""
