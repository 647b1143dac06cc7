"""Ray clusters: starting, finding and leaving them, and jobs on them."""
