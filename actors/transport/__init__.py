"""Message exchange between actors: couriers, inboxes and the links between them."""
