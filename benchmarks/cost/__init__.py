"""The cost of Headrace itself: latency, start, memory, journal, processes."""
