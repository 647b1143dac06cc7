"""The queue of spans: bounded, counted, and sent without delaying those who fill it."""

from __future__ import annotations

import io
import threading

import pytest
import requests
from pydantic import ValidationError

from actors.core.tracing.spans import TraceSpan
from actors.runtime.extras import missing
from actors.runtime.telemetry.bounded_http import BoundedAdapter
from actors.runtime.telemetry.exporter import SpanExporter, SpanStatistics
from actors.runtime.telemetry.otlp import OtlpSender
from actors.runtime.telemetry.settings import TelemetrySection, TraceSection, TraceSettings

SPAN = TraceSpan("call", 1, 2, None, 1.0, 2.0, {})
SOON_S = 5.0


class HeldSender:
    """Accepts spans once it is let go."""

    def __init__(self, *, accepts=True):
        self.accepts = accepts
        self.batches = []
        self.begun = threading.Event()
        self.held = threading.Event()

    def send(self, spans):
        self.begun.set()
        self.held.wait(SOON_S)
        self.batches.append(len(spans))
        if self.accepts is None:
            raise ValueError("a defect of the SDK")
        return self.accepts

    def shutdown(self):
        self.held.set()


def filled(sender, count, **options):
    exporter = SpanExporter(lambda: sender, **options)
    for _ in range(count):
        exporter.offer(SPAN)
    exporter.check_invariants()
    return exporter


@pytest.mark.parametrize(("status", "is_accepted"), [(200, True), (307, False), (400, False)])
def test_only_a_receiver_that_answers_with_success_has_the_spans(monkeypatch, status, is_accepted):
    def send(self, request, **options):
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = status, request, request.url
        answer.headers["Location"] = "http://other.test/"
        answer.raw = io.BytesIO()
        return answer

    monkeypatch.setattr(BoundedAdapter, "send", send)
    sender = OtlpSender(TraceSettings(None, "http://receiver.test", ()), "test")
    assert sender.send([SPAN]) is is_accepted


@pytest.mark.parametrize(
    ("accepts", "known"),
    [
        (True, SpanStatistics(exported=5)),
        (False, SpanStatistics(failed=5)),
        (None, SpanStatistics(failed=5)),
    ],
    ids=["accepted", "rejected", "defect"],
)
def test_close_sends_what_is_queued_and_counts_what_the_receiver_did_not_accept(accepts, known, caplog):
    sender = HeldSender(accepts=accepts)
    sender.held.set()
    exporter = filled(sender, 5)
    exporter.close(SOON_S)
    assert sender.batches == [5]
    assert exporter.statistics() == known
    assert ("5 of 5 spans were not exported" in caplog.text) is (not accepts)
    exporter.offer(SPAN)
    assert exporter.statistics().dropped == 1
    assert sender.batches == [5]


def test_a_full_queue_drops_spans_and_a_receiver_that_hangs_delays_close_only_as_long_as_it_may(caplog):
    sender = HeldSender()
    exporter = filled(sender, 512)  # a batch, which the sender holds
    assert sender.begun.wait(SOON_S)
    for _ in range(12):
        exporter.offer(SPAN)
    assert exporter.statistics().dropped == 0
    exporter.close(0.01)
    assert exporter.statistics() == SpanStatistics(dropped=12, failed=512)
    assert "524 of 524 spans were not exported" in caplog.text
    assert sender.held.is_set()
    bounded = filled(HeldSender(), 30, most_waiting=20)
    assert bounded.statistics().dropped == 10
    bounded.close(0.01)


def test_an_exporter_that_cannot_be_opened_fails_its_spans_and_nothing_else():
    def broken():
        raise ImportError("no such package")

    exporter = SpanExporter(broken)
    exporter.offer(SPAN)
    exporter.close(SOON_S)
    assert exporter.statistics() == SpanStatistics(failed=1)


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://host/otlp/", "https://host/otlp/v1/traces"),
        ("https://host/v1/traces", "https://host/v1/traces"),
        (None, None),
    ],
)
def test_the_path_of_the_protocol_is_added_to_the_address(given, endpoint):
    assert TraceSection(endpoint=given).endpoint == endpoint


@pytest.mark.parametrize(
    "given",
    [
        {"endpoint": "127.0.0.1:4318"},
        {"endpoint": "http://user:secret@host"},
        {"endpoint": "http://host/?key=secret"},
        {"headers": {"a b": "secret"}},
        {"headers": {"a": "secret\r\nB: c"}},
        {"sample": 1.5},
    ],
)
def test_an_invalid_receiver_is_an_error_that_shows_no_value(given):
    with pytest.raises(ValidationError) as found:
        TraceSection(**given)
    assert "secret" not in str(found.value)


def test_without_the_package_traces_are_an_error_with_its_remedy(monkeypatch):
    monkeypatch.setattr("actors.runtime.extras.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'headrace\[telemetry\]'"):
        TelemetrySection(traces=TraceSection())
    assert TelemetrySection().traces is None


def test_a_package_within_a_missing_package_is_missing():
    assert missing("opentelemetry.exporter.otlp.proto.http", "traces") is None
