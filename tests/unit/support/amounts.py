"""Amounts of money as every part of the program writes them: the terminal, and the scripts of the pages."""

AMOUNTS = (
    (None, "unknown"),
    (0, "$0.00"),
    (0.0000004, "<$0.000001"),
    (0.000123, "$0.000123"),
    (0.0123456, "$0.0123"),
    (0.25, "$0.2500"),
    (1, "$1.00"),
    (2.346, "$2.35"),
    (1234.5, "$1,234.50"),
    (1_234_567.891, "$1,234,567.89"),
)
