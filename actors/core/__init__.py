"""Pure rules: they take events and return instructions. They use no Ray, I/O, clock or environment."""
