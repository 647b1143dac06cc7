"""A request whose key the endpoint knows with another body, from before a restart or an upgrade."""

from __future__ import annotations

import orjson
import pytest

from actors.core.errors import FailureKind
from actors.core.messages.attempts import Attempt
from actors.llm import http_endpoint
from actors.llm.dialects.chat import ChatDialect
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import NumberField
from actors.llm.forms import AnswerForm
from actors.llm.http_endpoint import HttpEndpoint

KEY = "call-1"


class KeyedOrigin:
    """Answers a key with the body that came first under it; another body gets the status `conflict`."""

    def __init__(self):
        self.conflict = 422
        self.in_progress = set()  # keys
        self.bodies = {}
        self.asked = []

    def __call__(self, url, **_):
        return self

    async def send(self, exchange, _within_s):
        head, _, body = exchange.request.partition(b"\r\n\r\n")
        key = head.partition(b"Idempotency-Key: ")[2].partition(b"\r\n")[0].decode()
        streams = orjson.loads(body).get("stream", False)
        self.asked.append((key, streams))
        exchange.sent = True
        headers, is_known = {}, key in self.bodies
        if self.bodies.setdefault(key, body) != body:
            status, answer = self.conflict, error("this Idempotency-Key was used with another body")
        elif key in self.in_progress:
            status, answer = 409, error("a request with this Idempotency-Key is in progress")
        else:
            status, answer = 200, streamed() if streams else whole()
            headers = {"idempotent-replayed": "true"} if is_known else {}
        headers["content-type"] = "text/event-stream" if streams and status == 200 else "application/json"
        exchange.on_head(status, headers)
        if not exchange.on_piece(answer):
            exchange.on_end()

    async def close(self):
        pass


def error(message):
    return orjson.dumps({"error": {"message": message}})


USAGE = {"prompt_tokens": 10, "completion_tokens": 5}


def whole():
    choice = {"message": {"content": '{"q": 1}'}, "finish_reason": "stop"}
    return orjson.dumps({"choices": [choice], "usage": USAGE})


def streamed():
    choice = {"delta": {"content": '{"q": 1}'}, "finish_reason": "stop"}
    events = [{"choices": [choice]}, {"choices": [], "usage": USAGE}]
    return b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events) + b"data: [DONE]\n\n"


@pytest.fixture
def origin(monkeypatch):
    made = KeyedOrigin()
    monkeypatch.setattr(http_endpoint, "Origin", made)
    return made


async def ask(*, stream=False, max_tokens=10, prompt="Rate it.", attachments=()):
    form = AnswerForm("rate", {"q": NumberField(type="number")}, max_tokens)
    settings = EndpointSettings(name="main", base_url="http://h/v1", model="m")
    endpoint = HttpEndpoint(ChatDialect(settings), {"rate": form})
    return await endpoint.attempt(
        Attempt(1, "call", "main", "rate", prompt, 1, KEY, 60.0, stream=stream, attachments=attachments),
        60.0,
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("streamed_before", [False, True])
@pytest.mark.parametrize("conflict", [400, 422])
async def test_a_changed_body_has_a_key_of_its_own_which_is_repeated(
    origin, stream, streamed_before, conflict
):
    origin.conflict = conflict
    await ask(stream=streamed_before)

    changed = await ask(stream=stream, max_tokens=20)
    repeated = await ask(stream=not stream, max_tokens=20)
    other = await ask(stream=stream, max_tokens=30)

    assert [ended.values for ended in (changed, repeated, other)] == [{"q": 1}] * 3
    assert [ended.replayed for ended in (changed, repeated, other)] == [False, True, False]
    assert [ended.is_second for ended in (changed, repeated, other)] == [True, True, True]
    assert len(origin.bodies) == 3
    assert all(key == KEY or key.startswith(f"{KEY}.") for key in origin.bodies)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_other_form_of_the_same_body_gets_the_earlier_answer(origin, stream):
    await ask(stream=not stream)
    ended = await ask(stream=stream)
    assert (ended.values, ended.replayed, list(origin.bodies)) == ({"q": 1}, True, [KEY])


async def test_a_file_that_changed_is_another_request_and_an_equal_one_is_not(origin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "a.txt"

    def ask_about(text):
        file.write_text(text)
        return ask(attachments=("a.txt",))

    ended = [await ask_about(text) for text in ("one", "two", "one")]

    assert [(one.values, one.replayed) for one in ended] == [
        ({"q": 1}, False),
        ({"q": 1}, False),
        ({"q": 1}, True),
    ]
    first, second, third = (key for key, _ in origin.asked)  # none was asked twice
    assert first == third != second
    assert first.startswith(f"{KEY}.")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_in_progress_is_not_sent_under_another_key(origin, stream):
    await ask(stream=False)
    origin.in_progress.add(KEY)
    ended = await ask(stream=stream)
    assert (ended.error.kind, list(origin.bodies)) == (FailureKind.TRANSIENT, [KEY])
