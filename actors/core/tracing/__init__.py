"""Spans of OpenTelemetry, as values: their ids, and which spans follow from which facts."""
