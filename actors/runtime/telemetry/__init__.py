"""Telemetry of a process: its traces, and the format of its log."""
