"""Where it runs: assembly, the only place that knows all the parts."""
