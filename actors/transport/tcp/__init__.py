"""A link over TCP: frames, and the mutual authentication of both ends."""
