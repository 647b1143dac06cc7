"""The command `map`: options, course, output, and the refusal of its runs by other commands."""
