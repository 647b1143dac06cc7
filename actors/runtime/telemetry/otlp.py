"""Sends spans with OpenTelemetry's exporter of OTLP over HTTP, which is in the extra `telemetry`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from actors.core.tracing.spans import SpanKind as Kind
from actors.core.tracing.spans import TraceSpan
from actors.runtime.telemetry.bounded_http import BoundedAdapter
from actors.runtime.telemetry.settings import TraceSettings

_EXPORT_WITHIN_S = 5.0  # retries included
_WARN_EVERY_S = 60.0
_NAME = "headrace"
_KINDS = {Kind.INTERNAL: SpanKind.INTERNAL, Kind.CLIENT: SpanKind.CLIENT}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_UNSET = Status(StatusCode.UNSET)
_EXPORTERS_LOG = logging.getLogger(OTLPSpanExporter.__module__)


class OtlpSender:
    """Sends spans to the receiver of `settings`. `instance` names the actor or process."""

    def __init__(self, settings: TraceSettings, instance: str) -> None:
        headers = {name: value.get_secret_value() for name, value in settings.headers}
        self._adapter, session = BoundedAdapter(), requests.Session()
        session.hooks["response"].append(_refuse_redirection)  # the exporter counts one as success
        for scheme in ("http://", "https://"):
            session.mount(scheme, self._adapter)
        self._exporter = OTLPSpanExporter(
            settings.endpoint, headers=headers or None, timeout=_EXPORT_WITHIN_S, session=session
        )
        own = Resource.create({"service.name": _NAME, "service.instance.id": instance})
        self._resource = own.merge(OTELResourceDetector().detect())  # OTEL_SERVICE_NAME takes precedence
        self._scope = InstrumentationScope(_NAME)
        self._is_shut = False
        if not any(isinstance(each, _Sparing) for each in _EXPORTERS_LOG.filters):
            _EXPORTERS_LOG.addFilter(_Sparing())

    def send(self, spans: Sequence[TraceSpan]) -> bool:
        """Return whether the receiver accepted the spans."""
        return self._exporter.export(self.readable(spans)) is SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Interrupt `send`, also while it waits between two tries."""
        if not self._is_shut:
            self._is_shut = True
            self._adapter.cut()
            self._exporter.shutdown()  # type: ignore[no-untyped-call] # the SDK's

    def readable(self, spans: Sequence[TraceSpan]) -> list[ReadableSpan]:
        """Return spans as the SDK has them."""
        return [self._readable(span) for span in spans]

    def _readable(self, span: TraceSpan) -> ReadableSpan:
        return ReadableSpan(
            span.name,
            _context(span.trace, span.id),
            None if span.parent is None else _context(span.trace, span.parent),
            self._resource,
            span.attributes,
            (),
            () if span.link is None else (Link(_context(*span.link)),),
            _KINDS[span.kind],
            status=_UNSET if span.error is None else Status(StatusCode.ERROR, span.error),
            start_time=round(span.began * 1e9),
            end_time=round(span.ended * 1e9),
            instrumentation_scope=self._scope,
        )


class _Sparing(logging.Filter):
    """Passes one record of the exporter in a minute: an absent receiver would fill the log."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = 0.0

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - it is the interface of logging
        now = time.monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + _WARN_EVERY_S
        return True


def _refuse_redirection(answer: requests.Response, **_: object) -> None:
    if 300 <= answer.status_code < 400:
        raise requests.RequestException(f"HTTP {answer.status_code}: name the final address of the receiver")


def _context(trace: int, span: int) -> SpanContext:
    return SpanContext(trace, span, is_remote=False, trace_flags=_SAMPLED)
