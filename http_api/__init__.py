"""The HTTP door: what it takes in, what it answers, and how it speaks to the actors."""
