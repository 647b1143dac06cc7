"""Estimates what a job takes: a random sample of its rows, totals with intervals, and time from rates."""
