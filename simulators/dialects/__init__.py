"""The request and response formats of the simulated endpoint."""
