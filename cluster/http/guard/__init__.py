"""What every request passes: bounds, authentication, and one form for errors."""
