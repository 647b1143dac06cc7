"""The dispatcher actor: one for each cluster of endpoints."""
