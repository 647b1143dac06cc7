"""Totals and histograms in the form that monitoring reads."""
