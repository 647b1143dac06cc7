"""The SQL source: reads items from a database."""
