"""The interface and the settings of endpoints.

An endpoint makes one HTTP request for an attempt and translates every outcome into an `AttemptEnded`. Slots,
rates, retries and corrections are left to the dispatcher and the client actor, and are the same for every
endpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from yarl import URL

from actors.core.censor import HIDDEN, NO_SECRETS, Censor
from actors.core.dispatch.endpoint import Price
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.values import Usage

_CHAT = "/chat/completions"
_PLAIN_KEY_CHARACTERS = 4  # "none", "test": placeholders where no key is needed

OnStreamed = Callable[[int, float], None]


class Endpoint(Protocol):
    """Answers attempts. An instance belongs to one client actor and one event loop."""

    name: str

    async def attempt(
        self,
        attempt: Attempt,
        timeout_s: float,
        on_streamed: OnStreamed | None = None,
        *,
        waited_s: float = 0.0,
    ) -> AttemptEnded:
        """Make one request for `attempt` and return its outcome within `timeout_s` seconds.

        on_streamed: called with the number of characters received so far and the seconds since the start, if
        `attempt.stream` is set and the endpoint streams. If the endpoint refuses to stream, a second request
        without streaming follows at once.
        waited_s: how long the attempt has waited since `attempt.expires_in_s` was set; part of the outcome.

        Every failure is returned as a value. A defect of Headrace is a permanent failure with
        `Blame.UNKNOWN`. Raises only `asyncio.CancelledError`; the request may have been sent by then.
        """
        ...

    async def close(self) -> None:
        """Close all connections. Called once, when no attempt is in flight."""
        ...


class PriceSettings(BaseModel):
    """The price of an endpoint, in US dollars per million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd_per_mtok: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    output_usd_per_mtok: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def usage(self, input_tokens: int, output_tokens: int) -> Usage:
        """Return the usage of these tokens, with their cost."""
        return Price(self.input_usd_per_mtok, self.output_usd_per_mtok).usage(input_tokens, output_tokens)


class EndpointSettings(BaseModel):
    """The settings of one OpenAI-compatible endpoint.

    base_url: with or without ``/chat/completions`` at its end.
    start_in_flight, max_in_flight: the initial value and the maximum of the limit, which is learned.
    requests_per_minute, tokens_per_minute: the known rate limits; None if unknown.
    """

    # Without hide_input_in_errors, an error about a key of the wrong type would quote the key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
    base_url: Annotated[str, Field(max_length=2048)]
    model: Annotated[str, Field(min_length=1, max_length=256)]
    api_key: SecretStr = SecretStr("none")
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 1000
    start_in_flight: Annotated[int, Field(ge=1, le=100_000)] = 16
    requests_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    price: PriceSettings = PriceSettings()
    max_answer_bytes: Annotated[int, Field(ge=1024, le=1 << 25)] = 4 << 20

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_http_url(cls, value: str) -> str:
        url = URL(value)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must be an http:// or https:// URL with a host")
        if url.raw_user is not None or url.raw_password is not None:
            raise ValueError("must not contain a user or a password; put the key into api_key")
        if url.raw_query_string or url.raw_fragment:
            raise ValueError("must not contain a query or a fragment")
        return value.rstrip("/")

    @field_validator("api_key")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if not key or not all("!" <= character <= "~" for character in key):
            raise ValueError("must be printable ASCII without spaces or line breaks, and not empty")
        return value

    @property
    def chat_url(self) -> str:
        """The URL of requests."""
        return self.base_url if self.base_url.endswith(_CHAT) else self.base_url + _CHAT

    def key_censor(self) -> Censor:
        """Return a censor of the key. Ignores a placeholder of a few letters, which occurs in other words."""
        key = self.api_key.get_secret_value()
        return Censor([(key, HIDDEN)]) if len(key) > _PLAIN_KEY_CHARACTERS else NO_SECRETS
