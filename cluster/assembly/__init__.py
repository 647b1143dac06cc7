"""Builds the actors of a run or a service, and gives each its settings and addresses."""
