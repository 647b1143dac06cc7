"""The W1 workload for any contender: what to fetch, what to ask, what to compute.

It holds what is the same for all. Each contender has its own way to do much of it at once.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import orjson

FIELDS = ("quality", "value", "service", "risk")
SOURCES = tuple(f"source{number}" for number in range(5))
ITEMS = 4  # of each source
CALLS_A_TASK = len(SOURCES) * ITEMS + len(FIELDS)
SIGMA = 0.4  # of the lognormal latency

_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{name: {"type": "number", "minimum": 0, "maximum": 1} for name in FIELDS},
        "note": {"type": "string"},
    },
    "required": [*FIELDS, "note"],
    "additionalProperties": False,
}
_RESPONSE_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "rating", "strict": True, "schema": _SCHEMA},
}


@dataclass(frozen=True, slots=True)
class W1Job:
    """`tasks` tasks with five sources of four items each, for a model that accepts `cap` requests at once.

    `salt` differs between runs, so that a server with a memory sees new requests.
    """

    model_url: str
    sources_url: str
    tasks: int
    cap: int
    salt: int

    def text(self) -> str:
        """Return the job as text for `W1Job.of`."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> W1Job:
        """Return the job from its text."""
        return cls(**json.loads(text))

    @property
    def calls(self) -> int:
        """The number of calls of all tasks."""
        return self.tasks * CALLS_A_TASK

    def task_keys(self) -> list[str]:
        """Return the keys of the tasks."""
        return [f"task-{self.salt}-{number}" for number in range(self.tasks)]

    def prompts(self) -> list[str]:
        """Return a prompt for each call of the job, for contenders that make the calls alone."""
        return [f"Rate {self.salt} {number}: a text of some length about it" for number in range(self.calls)]

    def completions_url(self) -> str:
        """Return the URL of calls."""
        return f"{self.model_url}/chat/completions"

    def source_url(self, source: str, key: str) -> str:
        """Return the URL of the items that a source has about a task."""
        return f"{self.sources_url}/{source}/{key}?items={ITEMS}&latency_s=0.05"


def request(prompt: str) -> dict[str, Any]:
    """Return the request body of a call."""
    return {
        "model": "sim",
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 120,
        "response_format": _RESPONSE_FORMAT,
    }


def answer_in(body: bytes) -> dict[str, Any]:
    """Return the model's answer from the body of a response."""
    values: dict[str, Any] = orjson.loads(orjson.loads(body)["choices"][0]["message"]["content"])
    return values


def items_in(body: bytes) -> list[dict[str, Any]]:
    """Return a source's items from the body of a response."""
    items: list[dict[str, Any]] = orjson.loads(body)["results"]
    return items


def evaluation_prompt(key: str, item: Mapping[str, Any]) -> str:
    """Return the question about one item."""
    return f"Rate what this says about {key}:\n{item['text']}"


def finding_prompt(key: str, name: str, values: Sequence[float], items: Sequence[Mapping[str, Any]]) -> str:
    """Return the question for a finding on one dimension."""
    lines = "\n".join(f"[{item['id']}] {value:.3f}" for item, value in zip(items, values, strict=True))
    return f"Write one finding about the {name} of {key}:\n{lines}"


def estimate(key: str, values: Sequence[float]) -> dict[str, float]:
    """Return a mean and its bootstrap interval, computed as Headrace does."""
    rng = np.random.default_rng(random.Random(key).getrandbits(32))
    resampled = rng.choice(np.asarray(values), (200, len(values))).mean(axis=1)
    low, high = np.quantile(resampled, (0.05, 0.95))
    return {"score": float(np.mean(values)), "low": float(low), "high": float(high)}


def ideal_calls_per_s(cap: int, latency_s: float, sigma: float = SIGMA) -> float:
    """Return the throughput of `cap` requests in flight. The mean of a lognormal is above its median."""
    return cap / (latency_s * math.exp(sigma**2 / 2))
