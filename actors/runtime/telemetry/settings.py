"""The section `telemetry` of a configuration, and what an actor gets of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from yarl import URL

from actors.core.censor import NO_SECRETS, Censor
from actors.core.tracing.spans import TraceRules
from actors.runtime.extras import missing

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PATH = "/v1/traces"  # of the OTLP specification, below the address of a receiver


class TraceSection(BaseModel):
    """Where traces are sent, and which."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    endpoint: Annotated[
        str | None,
        Field(
            max_length=2048,
            description="address of an OTLP receiver over HTTP; "
            "absent: the variables `OTEL_EXPORTER_OTLP_…` of each process",
        ),
    ] = None
    sample: Annotated[float, Field(ge=0, le=1, description="share of the tasks that have a trace")] = 0.01
    headers: Annotated[
        dict[str, SecretStr],
        Field(max_length=100, description="sent to the receiver; write secrets as ${NAME}"),
    ] = Field(default_factory=dict)
    content: Annotated[bool, Field(description="whether spans have prompts and answers")] = False

    @field_validator("endpoint")
    @classmethod
    def _is_an_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        url = URL(value)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must be an http:// or https:// URL with a host")
        if url.raw_user is not None or url.raw_query_string or url.raw_fragment:
            raise ValueError("must not contain a user, a query or a fragment; put a key into headers")
        path = url.path.rstrip("/")
        return str(url.with_path(path if path.endswith(_PATH) else path + _PATH))

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, content in value.items():
            text = content.get_secret_value()
            if not (_HEADER.fullmatch(name) and text.isascii() and text.isprintable()):
                raise ValueError(f"header {name[:80]!r} contains characters that cannot be sent")
        return value


class TelemetrySection(BaseModel):
    """What a run reports to other systems."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    traces: Annotated[TraceSection | None, Field(description="traces of OpenTelemetry; absent: none")] = None
    log_format: Annotated[
        Literal["plain", "json"], Field(description="format of messages and log records")
    ] = "plain"

    @field_validator("traces")
    @classmethod
    def _can_be_exported(cls, value: TraceSection | None) -> TraceSection | None:
        problem = None if value is None else missing(_EXPORTER, "telemetry.traces")
        if problem is not None:
            raise ValueError(problem)
        return value


class TraceSettings(Struct, frozen=True):
    """The settings of an exporter of spans. They can be pickled, and their `repr` shows no secret."""

    rules: TraceRules
    endpoint: str | None = None
    headers: tuple[tuple[str, SecretStr], ...] = ()
    censor: Censor = NO_SECRETS


class ActorTelemetry(Struct, frozen=True):
    """The telemetry settings of an actor's process: its spans, and the run and the format of its log."""

    traces: TraceSettings | None = None
    run_id: str = ""
    logs_json: bool = False


NO_TELEMETRY = ActorTelemetry()
