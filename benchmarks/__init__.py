"""Benchmarks: ratios between contenders that are measured in one run.

`suite` runs all of them; `report` writes their results into the documentation.
"""
