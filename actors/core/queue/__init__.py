"""Scheduling: the fair queue, and the queue for the slots of a client."""
