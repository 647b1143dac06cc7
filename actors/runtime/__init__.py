"""What every actor's process needs: its start, its log, its metrics."""
