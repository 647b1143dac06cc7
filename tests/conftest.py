"""What every test gets: an environment that is set, not found."""

from __future__ import annotations

import os

# Set before anything imports ray: a test must not depend on, or write, a token in somebody's home.
os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
