"""The files source: reads items from files."""
