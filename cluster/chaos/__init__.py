"""Kills everything that a run consists of, and then checks what is promised about it."""
