"""What an endpoint is: it makes one HTTP request for an attempt, and says what became of it.

Slots, rates, retries and re-asking are the dispatcher's and the client actor's, the same for every
endpoint. An endpoint only asks once, and translates all that can happen into an `AttemptEnded`.
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
_PLAIN_KEY_CHARACTERS = 4  # "none", "test": what people write where no key is needed

OnStreamed = Callable[[int, float], None]


class Endpoint(Protocol):
    """Who answers attempts. One instance lives in one client actor, on one event loop."""

    name: str

    async def attempt(
        self,
        attempt: Attempt,
        timeout_s: float,
        on_streamed: OnStreamed | None = None,
        *,
        waited_s: float = 0.0,
    ) -> AttemptEnded:
        """Make one request for `attempt` and return what became of it, within `timeout_s` seconds.

        `on_streamed` is told how many characters have come so far, and how many seconds after the start,
        where `attempt.stream` and the endpoint does. One that will not stream is asked again at once without;
        the answer is the same.

        Every failure is a value, a defect of this program too: it comes back as `Blame.UNKNOWN` and
        permanent. Only `asyncio.CancelledError` is raised; the request may have been sent by then.
        It has waited for `waited_s` seconds since it was told what is left of its time; the result tells so.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. Called once; no attempt is under way or follows."""
        ...


class PriceSettings(BaseModel):
    """What an endpoint charges, in US dollars for a million tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd_per_mtok: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    output_usd_per_mtok: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def usage(self, input_tokens: int, output_tokens: int) -> Usage:
        """Return so many tokens together with what they cost."""
        return Price(self.input_usd_per_mtok, self.output_usd_per_mtok).usage(input_tokens, output_tokens)


class EndpointSettings(BaseModel):
    """One OpenAI-compatible URL with its model, key, price, and the bounds that are known of it.

    `base_url` may end before ``/chat/completions`` or with it. `max_in_flight` is a ceiling: how many
    requests the endpoint really carries is learned, from `start_in_flight` on, or the ceiling if that is
    lower. A rate of None means that none is known.
    """

    # Without hide_input_in_errors, a key of the wrong type would be quoted by the error about it.
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
            raise ValueError("must hold no user or password: a key belongs into api_key")
        if url.raw_query_string or url.raw_fragment:
            raise ValueError("must hold no query and no fragment")
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
        """The URL that requests are posted to."""
        return self.base_url if self.base_url.endswith(_CHAT) else self.base_url + _CHAT

    def key_censor(self) -> Censor:
        """Return what hides the key. A key of a few letters is no secret, and would blot out words."""
        key = self.api_key.get_secret_value()
        return Censor([(key, HIDDEN)]) if len(key) > _PLAIN_KEY_CHARACTERS else NO_SECRETS
