"""How actors exchange messages: couriers, inboxes, and the links between them."""
