"""Totals, histograms and the history of the endpoints, for monitoring."""
