"""W1, the reference workload: its definition, Headrace's entry, the comparison."""
