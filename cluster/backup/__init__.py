"""Backups of stores, their restoration, and the migration of rows. Only commands import this package."""
