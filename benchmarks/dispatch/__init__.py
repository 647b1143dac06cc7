"""The dispatcher alone: throughput, cost by queue depth, fairness."""
