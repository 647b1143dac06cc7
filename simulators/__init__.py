"""What stands in for the world: real processes that speak HTTP."""
