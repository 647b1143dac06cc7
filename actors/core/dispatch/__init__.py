"""The dispatcher's rules: which call is attempted next, at which endpoint, and what follows from its end."""
