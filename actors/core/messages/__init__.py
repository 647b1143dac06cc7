"""Messages between actors: frozen structs without behaviour. Every package may import them.

Rule 1: every message pickles, and carries the key of what it is about, so that a log line can be traced.
Rule 2: times are seconds. A deadline travels as the time that is left, because clocks of hosts differ.
Rule 3: no message holds a secret.
"""
