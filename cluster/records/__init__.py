"""What a store knows of runs: read and changed without a cluster."""
