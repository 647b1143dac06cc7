"""What is checked before a run: this machine, the store, the endpoints."""
