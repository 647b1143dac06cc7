"""The dispatcher's rules: which call is tried next, where, and what follows from how it ended."""
