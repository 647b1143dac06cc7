"""What a job will take: a random sample of its rows, totals with intervals, and time from rates."""
