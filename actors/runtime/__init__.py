"""Start, logging and metrics of an actor's process."""
