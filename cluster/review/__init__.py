"""The local page on which a person judges the answers of a run by keyboard."""
