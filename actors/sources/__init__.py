"""Sources of data about tasks."""
