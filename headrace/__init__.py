"""The Python API: prompts over the rows of a table, and runs of a configuration. Nothing else imports it."""
