"""The journal actor: commits the records of other actors, and replies once they are durable."""
