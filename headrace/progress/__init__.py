"""Runs work in a thread beside the caller, and shows it. Only modules of `headrace` import this."""
