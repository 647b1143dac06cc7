"""The rules, pure: events in, instructions out. No Ray, no I/O, no clock, no environment."""
