"""Runs a batch: reads the input, streams the tasks, and handles stops and faults."""
