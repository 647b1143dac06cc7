"""Sections of several kinds: the stores that are built in, and the kinds that plug-ins add."""
