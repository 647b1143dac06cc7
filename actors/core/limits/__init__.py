"""Rules that bound one thing each: retries, budgets, breakers, admission, costs."""
