"""The routes of the HTTP API, and what they read and write."""
