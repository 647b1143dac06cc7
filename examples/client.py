"""A small client for the HTTP API: submits a task, follows its events and prints its report.

It needs the standard library only.

    make serve                                        # in another terminal
    python examples/client.py kettle --param product=kettle

It repeats a request with the same Idempotency-Key while the service is overloaded or unavailable, and resumes
an interrupted event stream at its last event. A task is therefore done once.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

_AGAIN = frozenset({429, 500, 502, 503, 504})


class RefusedError(Exception):
    """The service refused the request. `problem` is its problem document (RFC 9457)."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail", problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """An event of a task."""

    id: int
    kind: str
    data: dict[str, Any]


class Client:
    """A client of a Headrace service.

    It repeats a request for up to `patience_s`, every `pause_s` unless the service sends Retry-After.
    """

    def __init__(
        self, url: str, token: str | None = None, *, patience_s: float = 60.0, pause_s: float = 1.0
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._patience_s = patience_s
        self._pause_s = pause_s

    def submit(self, key: str | None = None, **params: Any) -> str:
        """Submit a task and return its id. The task is then durable. Raises `RefusedError`."""
        body = {"params": params} if key is None else {"key": key, "params": params}
        name = str(uuid.uuid4())  # the same for every attempt, so that the service makes one task
        answer = self._json("POST", "/v1/tasks", body, {"Idempotency-Key": name})
        return str(answer["id"])

    def events(self, task: str) -> Iterator[TaskEvent]:
        """Yield the events of a task in order, each once, until the task has ended."""
        last = 0
        while True:
            try:
                with self._open(
                    "GET", f"/v1/tasks/{task}/events", None, {"Last-Event-ID": str(last)}
                ) as stream:
                    if stream.status == 204:
                        return
                    for event in _parsed(stream):
                        last = event.id
                        yield event
            except (OSError, HTTPException):
                time.sleep(self._pause_s)

    def result(self, task: str) -> dict[str, Any]:
        """Return the report of a task that has ended. Raises `RefusedError`."""
        return self._json("GET", f"/v1/tasks/{task}/result")

    def cancel(self, task: str) -> str:
        """Cancel a task and return its final state."""
        return str(self._json("DELETE", f"/v1/tasks/{task}")["state"])

    def _json(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        patient_until = time.monotonic() + self._patience_s
        while True:
            with self._open(method, path, body, headers) as answer:
                try:
                    document: dict[str, Any] = json.load(answer)
                except (OSError, HTTPException):  # the connection broke during the answer
                    if time.monotonic() + self._pause_s > patient_until:
                        raise
                else:
                    return document
            time.sleep(self._pause_s)

    def _open(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> HTTPResponse:
        """Return a successful response; retry while the service is overloaded or unavailable."""
        patient_until = time.monotonic() + self._patience_s
        while True:
            try:
                answer: HTTPResponse = urllib.request.urlopen(  # noqa: S310 - the user chooses the address
                    self._request(method, path, body, headers or {}), timeout=60
                )
            except urllib.error.HTTPError as error:
                problem = _problem(error)
                pause_s = float(error.headers.get("Retry-After") or self._pause_s)
                if not _is_passing(error) or time.monotonic() + pause_s > patient_until:
                    raise RefusedError(problem) from error
            except (OSError, HTTPException):
                pause_s = self._pause_s
                if time.monotonic() + pause_s > patient_until:
                    raise
            else:
                return answer
            time.sleep(pause_s)

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str]) -> urllib.request.Request:
        data = None if body is None else json.dumps(body).encode()
        known = {"Content-Type": "application/json"} if data else {}
        if self._token:
            known["Authorization"] = f"Bearer {self._token}"
        return urllib.request.Request(self._url + path, data, {**known, **headers}, method=method)  # noqa: S310 - same


def _parsed(stream: HTTPResponse) -> Iterator[TaskEvent]:
    """Yield the events of a stream. Blocks without an id (heartbeats, errors) are skipped."""
    fields: dict[str, str] = {}
    for line in stream:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            fields[name] = value
            continue
        if "id" in fields:
            yield TaskEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        fields = {}


def _is_passing(error: urllib.error.HTTPError) -> bool:
    """Return whether to retry, also if a proxy answers while the service starts."""
    return error.code in _AGAIN or error.headers.get_content_type() != "application/problem+json"


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        document = json.load(error)
    except ValueError:
        document = None
    return document if isinstance(document, dict) else {"status": error.code, "detail": error.reason}


def main() -> None:
    """Submit one task, print its events and its report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("key", help="names the task")
    parser.add_argument("--param", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    options = parser.parse_args()
    client = Client(options.url, os.environ.get("HEADRACE_API_TOKEN"))
    task = client.submit(options.key, **dict(each.split("=", 1) for each in options.param))
    for event in client.events(task):
        print(f"{event.id:3} {event.kind:10} {json.dumps(event.data['data'])}")
    print(json.dumps(client.result(task), indent=2))


if __name__ == "__main__":
    main()
