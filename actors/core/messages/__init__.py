"""What actors say to each other: frozen structs. Every package may import them."""
