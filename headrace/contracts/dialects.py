"""The contract of a dialect: it asks the question, reads what comes back, and raises for no bytes at all."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson
from pydantic import TypeAdapter

from actors.core.errors import Failure, FailureKind
from actors.core.messages.calls import Correction
from actors.core.messages.values import Json
from actors.llm.dialects.dialect import Dialect, ParsedAnswer
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm, AnswerProblem
from actors.llm.translate import Site, from_report
from headrace.contracts.rules import check, raises_nothing

_FIELDS = TypeAdapter(dict[str, FieldSpec]).validate_python({"x": {"type": "number", "min": 0, "max": 1}})
_FORM, _PLAIN = AnswerForm("rating", _FIELDS, 50), AnswerForm("text", {}, 50, instructions="Be brief.")
_FITS, _TEXT = '{"x": 0.5}', "Because of 3 \u20ac."
_INPUT, _OUTPUT = 12, 9
_NO_ANSWERS = (b"", b"<html>", b"[]", b"7", b"null", b"{}", b"\xff\xfe", b"[" * 5000, b'{"a":')
_CHANGES = 300  # of each body; they are the same in each run
_SITE = Site("main", "/path")
_PIECES = (1, 7, 1 << 20)

Answer = tuple[int, Mapping[str, str], bytes]  # status, headers, body


class DialectContract:
    """Subclass it, and implement the methods that raise. `settings` has keys of the endpoint beside the name.

    The answers are those of a server, in the bytes that it sends.
    """

    settings: Mapping[str, Json] = {}

    def dialect(self, settings: EndpointSettings) -> Dialect:
        """Return the dialect of an endpoint with these settings."""
        raise NotImplementedError

    def answer(self, text: str) -> bytes:
        """Return the body of an answer with this text, of 12 tokens of input and 9 of output."""
        raise NotImplementedError

    def stream(self, text: str) -> bytes | None:
        """Return the same answer as a stream; None if the server has no streams."""
        raise NotImplementedError

    def passing(self) -> Sequence[Answer]:
        """Return refusals that pass, such as that of a rate limit. Headers have names in lower case."""
        raise NotImplementedError

    def lasting(self) -> Sequence[Answer]:
        """Return errors that every request gets until the configuration changes, such as a rejected key."""
        raise NotImplementedError

    # ---- requests ----------------------------------------------------------------------------------------

    def test_a_request_asks_the_question(self) -> None:
        """The model, the prompt, the system message and the bound are in the URL or in the body."""
        dialect = self._made()
        body = dialect.prepare(_PLAIN).body('Why "so"?', None)
        sent = dialect.url(stream=False).encode() + body
        for part in (b"model-7", orjson.dumps('Why "so"?'), b"Be brief.", b"50"):
            check(part in sent, f"a request contains {part.decode()}", sent)
        check(b"half ?" in dialect.prepare(_PLAIN).body("half \ud83d", None), "half an emoji becomes ?")

    def test_a_request_has_the_parameters(self) -> None:
        """Those of the step replace those of the endpoint."""
        dialect = self._made(params={"p-one": 1471, "p-two": 1472})
        form = AnswerForm("text", {}, 50, parameters={"p-two": 1473})
        body = dialect.prepare(form).body("Why?", None)
        check(b"1471" in body, "a request has the params of the endpoint", body)
        check(b"1473" in body and b"1472" not in body, "params of a step replace those of the endpoint", body)

    def test_a_question_is_asked_again_with_what_was_wrong(self) -> None:
        """The model sees its answer and the problem."""
        body = self._made().prepare(_FORM).body("Why?", Correction("seven and a half", "too high"))
        for part in (b"Why?", b"seven and a half", b"too high"):
            check(part in body, f"a correction contains {part.decode()}", body)

    def test_other_servers_have_other_urls(self) -> None:
        """The URL is a part of what names an answer: two servers share none."""
        urls = {
            self._made(base_url=url).url(stream=False) for url in ("http://a.test/v1", "http://b.test/v1")
        }
        check(len(urls) == 2, "the URL depends on base_url", urls)

    # ---- answers -----------------------------------------------------------------------------------------

    def test_an_answer_is_read_and_its_tokens_are_counted(self) -> None:
        """An answer that does not fit is billed like any other."""
        dialect = self._made()
        self._check_answers(lambda form, text: dialect.read(form, self.answer(text)))

    def test_no_body_raises(self) -> None:
        """A body that no model wrote is no completion: a gateway may have sent it."""
        dialect = self._made()
        for body in _NO_ANSWERS:
            with raises_nothing("read never raises", body):
                answer = dialect.read(_FORM, body)
            is_problem = isinstance(answer.found, AnswerProblem) and not answer.is_completion
            check(is_problem, f"{body[:8]!r} is no completion", answer)
        for body in _changed(self.answer(_FITS)):
            with raises_nothing("read never raises", body):
                check(isinstance(dialect.read(_FORM, body), ParsedAnswer), "read returns a ParsedAnswer")

    def test_a_stream_is_the_same_wherever_its_pieces_end(self) -> None:
        """An answer that was streamed is read like one that was not."""
        if self.stream(_FITS) is None:
            return
        for size in _PIECES:
            self._check_answers(lambda form, text: self._streamed(form, self.stream(text) or b"", size))  # noqa: B023 - called at once

    def test_a_stream_that_breaks_off_is_not_whole_and_none_raises(self) -> None:
        """Bytes are missing at the end, or are others."""
        wire = self.stream(_FITS)
        if wire is None:
            return
        reader = self._made().reader()
        reader.feed(wire[: len(wire) // 3])
        check(not reader.is_done, "a third of a stream is not done")
        check(not reader.is_whole, "a third of a stream is not whole")
        for body in _changed(wire):
            with raises_nothing("a stream never raises", body):
                self._streamed(_FORM, body, 1 << 20)

    # ---- errors ------------------------------------------------------------------------------------------

    def test_errors_that_pass_differ_from_those_that_last(self) -> None:
        """A refusal that passes is waited for. An error that lasts ends the run, with what to set."""
        for answer in self.passing():
            kind = self._failure(answer).kind
            check(kind is FailureKind.REFUSED, "an answer of `passing` is a refusal", (answer, kind))
        for answer in self.lasting():
            kind = self._failure(answer).kind
            check(
                kind is FailureKind.MISCONFIGURED, "an answer of `lasting` is misconfigured", (answer, kind)
            )

    def test_no_error_raises(self) -> None:
        """Whatever its status, its headers and its body are."""
        dialect = self._made()
        for status, headers, body in [*self.passing(), *self.lasting()]:
            for text in ("", "-1", "nan", "1e999", "Thu, 26 Nov 2026 12:00:30 GMT", "x" * 1000):
                odd = dict.fromkeys((*headers, "retry-after", "date"), text)
                with raises_nothing("headers never raise", text):
                    self._failure((status, odd, body))
                    dialect.rate_headers(odd)
            for changed in (*_NO_ANSWERS, *_changed(body)):
                with raises_nothing("error never raises", changed):
                    self._failure((status, headers, changed))

    def _made(self, **settings: Json) -> Dialect:
        usual = {"name": "main", "model": "model-7", "base_url": "http://a.test/v1", "api_key": "sk-1234567"}
        return self.dialect(EndpointSettings.model_validate({**usual, **self.settings, **settings}))

    def _failure(self, answer: Answer) -> Failure:
        status, headers, body = answer
        report = self._made().error(status, headers, body, 1_795_694_400.0)
        return from_report(report, hide=lambda text: text, site=_SITE)[0]

    def _streamed(self, form: AnswerForm, wire: bytes, size: int) -> ParsedAnswer:
        reader = self._made().reader()
        for start in range(0, len(wire), size):
            reader.feed(wire[start : start + size])
        reader.close()
        return reader.answer(form)

    def _check_answers(self, read: Callable[[AnswerForm, str], ParsedAnswer]) -> None:
        for form, text, values in ((_FORM, _FITS, {"x": 0.5}), (_PLAIN, _TEXT, {"text": _TEXT})):
            answer = read(form, text)
            check(answer.found == values, f"the values of {text} are {values}", answer)
            counts = (answer.tokens.input, answer.tokens.output)
            check(counts == (_INPUT, _OUTPUT), "the tokens are 12 and 9", counts)
        answer = read(_FORM, '{"x": 7}')
        check(isinstance(answer.found, AnswerProblem), "an answer that does not fit is a problem", answer)
        check(answer.is_completion and answer.tokens.output == _OUTPUT, "a problem is billed", answer)
        check(answer.content is not None and "7" in answer.content, "a problem has the text", answer)


def _changed(body: bytes) -> Iterator[bytes]:
    """Yield `body` cut short, with other bytes, and with members of its JSON replaced."""
    chance = random.Random(7)
    for _ in range(_CHANGES):
        at = chance.randrange(len(body) + 1)
        yield body[:at]
        yield body[:at] + chance.randbytes(3) + body[at + chance.randrange(6) :]
    for other in (b"null", b"-1", b"1e300", b"[]", b"{}", b'""', b"true", b"[[[]]]"):
        for value in (b"12", b"9", b'"stop"'):
            yield body.replace(value, other)
