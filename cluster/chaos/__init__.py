"""Kills the parts of a run, then checks the guarantees."""
