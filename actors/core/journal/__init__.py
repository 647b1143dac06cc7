"""The journal's rules: what is stored for a record, and what may be answered once it is."""
