"""The request and response formats of endpoints."""
