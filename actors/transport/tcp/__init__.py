"""The link over TCP: framing, and mutual authentication of both ends."""
