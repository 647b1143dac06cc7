"""Totals and histograms for monitoring."""
