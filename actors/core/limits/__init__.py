"""Retries, budgets, circuit breakers, admission, and the cost of attempts."""
