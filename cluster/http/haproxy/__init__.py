"""HAProxy before the replicas of the HTTP API: an option of `make serve`, off by default."""
