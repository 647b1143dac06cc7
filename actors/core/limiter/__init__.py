"""How many attempts may be in flight at an endpoint: learned from its answers and refusals."""
