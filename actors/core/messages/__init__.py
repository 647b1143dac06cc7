"""Messages between actors: frozen structs without behaviour. Every package may import them.

Rule 1: every message can be pickled, and carries the key of its subject, so that log lines can be traced.
Rule 2: times are in seconds. A deadline is sent as the remaining time, because the clocks of hosts differ.
Rule 3: no message holds a secret.
"""
