"""Examples, and what makes the pictures of the documentation."""
