"""The simulated dialect `azure`: chat completions of Azure OpenAI, of the API v1 and of a version."""

from __future__ import annotations

import re

from simulators.dialects.chat import SimulatedChat

_PATH = re.compile(r"/openai/(v1|deployments/[^/]+)/chat/completions")


class SimulatedAzure(SimulatedChat):
    """Chat completions of Azure OpenAI."""

    def matches(self, method: str, path: str) -> bool:
        """Return whether this is a chat completion."""
        return method == "POST" and _PATH.fullmatch(path) is not None
