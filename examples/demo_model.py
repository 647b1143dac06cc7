"""A model for pictures: it rates product reviews by their words, slowly, and refuses what is too much for it.

It speaks the chat completions of the OpenAI API on loopback. Its answers make sense, so that a picture of a
report shows one that could be real; equal questions have equal answers.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

CAPACITY = 48  # attempts in flight; more are refused
_DIP = range(700, 1_000)  # of the requests: the capacity is a quarter meanwhile, as if somebody else used it
_MEDIAN_S, _SIGMA = 0.35, 0.35
_UNUSABLE = 0.01  # the share of reviews about which it answers in prose, each time
_GOOD = ("promised", "still", "not let me down", "no fault", "ordered one", "two days", "recommend", "again")
_BAD = (
    "broke",
    "never",
    "useless",
    "scratched",
    "form letter",
    "sent it back",
    "twice",
    "worries",
    "not what",
)
_TOPICS = {
    "delivery": ("delivery", "box", "scratched", "sent it back"),
    "durability": ("broke", "months", "lasted", "worries"),
    "service": ("customer service", "form letter", "money"),
    "price": ("price",),
}


class DemoModel:
    """The model. `port` is where it listens."""

    def __init__(self) -> None:
        self.port = 0
        self._flying = 0
        self._served = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        """Serve on a free port of loopback, whose base URL is the value."""
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield f"http://127.0.0.1:{self.port}/v1"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        prompt = "\n".join(str(message["content"]) for message in asked["messages"])
        self._served += 1
        capacity = CAPACITY // 4 if self._served in _DIP else CAPACITY
        if self._flying >= capacity:
            return web.json_response({"error": {"message": "too many requests"}}, status=429)
        review = prompt.rpartition('"""\n')[0].rpartition('"""\n')[2]
        chance = random.Random(review)
        self._flying += 1
        try:
            busy = 1 + self._flying / CAPACITY
            await asyncio.sleep(_MEDIAN_S * busy * chance.lognormvariate(0, _SIGMA))
        finally:
            self._flying -= 1
        answer = _finding(prompt) if "evidence" in prompt else _rating(review, chance)
        text = json.dumps(answer)
        if "evidence" not in prompt and random.Random(f"{review} again").random() < _UNUSABLE:
            text = "I would rather not judge this review."
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
        message = {"role": "assistant", "content": text}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        return web.json_response(
            {"id": "x", "object": "chat.completion", "model": "demo", "choices": choices, "usage": usage}
        )


def _rating(review: str, chance: random.Random) -> dict[str, object]:
    text = review.lower()
    good, bad = (sum(word in text for word in words) for words in (_GOOD, _BAD))
    score = min(max(0.5 + 0.16 * (good - 1.2 * bad) + chance.gauss(0, 0.06), 0), 1)
    label = "positive" if score > 0.58 else "negative" if score < 0.4 else "mixed"
    topics = [topic for topic, words in _TOPICS.items() if any(word in text for word in words)]
    return {
        "sentiment": label,
        "satisfaction": round(score, 2),
        "topic": topics[0] if topics else "fitness",
        "returned": "sent it back" in text,
        "confidence": round(min(0.99, 0.62 + abs(score - 0.5) * 0.7 + chance.random() * 0.08), 2),
    }


def _finding(prompt: str) -> dict[str, object]:
    ids = re.findall(r"^\[([^\]]+)\] ([\d.]+)", prompt, re.MULTILINE)
    values = [float(value) for _, value in ids]
    mean = sum(values) / max(len(values), 1)
    if mean > 0.6:
        finding = "Buyers are content: it does what it promises, and several would buy it again."
    elif mean > 0.45:
        finding = "Opinions are split: it works, but parts and delivery disappoint some buyers."
    else:
        finding = "Buyers are unhappy: it breaks early, and several have sent it back."
    ordered = sorted(ids, key=lambda pair: -abs(float(pair[1]) - 0.5))
    return {"finding": finding, "evidence": [name for name, _ in ordered[:3]], "score": round(mean, 2)}
