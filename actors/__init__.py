"""Who works: actors, and the rules that they follow."""
