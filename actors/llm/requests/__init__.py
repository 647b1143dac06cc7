"""The parts of a request beside the body that a dialect makes: its head, files, and vectors."""
