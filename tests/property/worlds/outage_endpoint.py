"""A model behind HTTP in virtual time: it keeps a ledger of its own, and can have trouble of every kind."""

from __future__ import annotations

import json
from collections import Counter

import orjson

from actors.http1.exchange import BrokenOffError


class Server:
    """A model behind HTTP. `fault` is None, or is asked what becomes of each request that arrives."""

    def __init__(self, loop):
        self.loop = loop
        self.fault = None
        self.billed = Counter()  # by the key of the call
        self.requests = 0
        self.in_flight = 0
        self.capacity, self.latency_s = 24, 0.5
        self.usage = {"prompt_tokens": 30, "completion_tokens": 10}

    def receive(self, exchange):
        """Take in a request. What happens from here on does not depend on the life of who asked."""
        self.requests += 1
        key = _header(exchange.request, b"Idempotency-Key")
        if self.fault is not None and self.fault(self, exchange, key):
            return
        if self.in_flight >= self.capacity:
            self.answer_later(0.05, exchange, 429, {})
            return
        self.in_flight += 1
        self.loop.call_later(self.latency_s, self._finish, exchange, key)

    def bill(self, key):
        self.billed[key.rpartition(".")[0] or key] += 1

    def answer_later(self, after_s, exchange, status, headers, text="no"):
        body = orjson.dumps({"error": {"message": text}})
        self.loop.call_later(after_s, _answer, exchange, status, headers, body)

    def break_later(self, after_s, exchange):
        self.loop.call_later(after_s, exchange.fail, BrokenOffError("the connection was reset"))

    def _finish(self, exchange, key):
        self.in_flight -= 1
        self.bill(key)
        content = {"quality": 0.5}
        if b'"finding"' in exchange.request:
            content = {"finding": "it is so", "evidence": [], "score": 0.5}
        message = {"role": "assistant", "content": orjson.dumps(content).decode()}
        document = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": self.usage}
        _answer(exchange, 200, {"content-type": "application/json"}, json.dumps(document).encode())


def _answer(exchange, status, headers, body):
    if exchange.ended.done():
        return  # the one who asked has hung up
    exchange.on_head(status, dict(headers))
    exchange.on_piece(body)
    exchange.on_end()
    exchange.succeed()


def _header(request, name):
    start = request.index(name + b": ") + len(name) + 2
    return request[start : request.index(b"\r\n", start)].decode()


def refusing(*, retry_after=None, status=429):
    def fault(server, exchange, key):
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        server.answer_later(0.05, exchange, status, headers)
        return True

    return fault


def revoked(server, exchange, key):
    server.answer_later(0.05, exchange, 401, {}, "Incorrect API key provided")
    return True


def hanging(server, exchange, key):
    server.bill(key)  # it works for nothing, and charges for it
    return True


def resetting(server, exchange, key):
    if server.requests % 2:
        server.bill(key)
    server.break_later(0.05, exchange)
    return True
