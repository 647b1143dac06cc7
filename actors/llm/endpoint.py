"""The interface and the settings of endpoints.

An endpoint makes one HTTP request for an attempt and translates every outcome into an `AttemptEnded`. Slots,
rates, retries and corrections are left to the dispatcher and the client actor, and are the same for every
endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from operator import not_
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator
from yarl import URL

from actors.core.censor import HIDDEN, NO_SECRETS, Censor
from actors.core.limits.price import Price, PriceTier
from actors.core.messages.attempts import Attempt, AttemptEnded
from actors.core.messages.values import Json
from actors.http1.request import line
from actors.llm.access_tokens import TokenSource
from actors.llm.listed_prices import listed_price
from actors.llm.presets import presets

_OWN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "idempotency-key"}
    | {"transfer-encoding"}
)
_SENDABLE = re.compile(r"[!-~]+")  # not all dialects send a URL that they could encode again
_PLAIN_KEY_CHARACTERS = 4  # "none", "test": placeholders where no key is needed

CHAT = "chat"  # the dialect of an endpoint that names none
NATIVE: Final = "native"
TOOL: Final = "tool"
JSON: Final = "json"
NO_KEY: Final = "none"  # where no API key is needed
MAX_TOKENS, MAX_COMPLETION_TOKENS = "max_tokens", "max_completion_tokens"

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
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


def _is_none(value: object) -> bool:
    return value is None


_FOR_AN_HOUR = "1h"  # the time for which Anthropic and Bedrock are asked to store
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Own = Annotated[Usd | None, Field(exclude_if=_is_none)]  # stored only if it is set


class TierSettings(BaseModel):
    """The price of requests with more than `above_input_tokens` input tokens, of all their tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above_input_tokens: Annotated[int, Field(ge=1, le=10**9)]
    input_usd_per_mtok: Usd
    output_usd_per_mtok: Usd
    cached_input_usd_per_mtok: _Own = None
    cache_write_usd_per_mtok: _Own = None
    cache_write_hour_usd_per_mtok: _Own = None
    reasoning_usd_per_mtok: _Own = None


class PriceSettings(BaseModel):
    """The price of an endpoint, in US dollars per million tokens, and per request where it has such a fee.

    cached_input, cache_write: of input tokens that a cache served or stored; None: as other input tokens.
    cache_write_hour: of those that it stores for an hour; None: as other ones that it stores.
    reasoning: of output tokens that the model used to reason; None: as other output tokens.
    tiers: the prices of requests with much input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_usd_per_mtok: Usd = 0.0
    output_usd_per_mtok: Usd = 0.0
    cached_input_usd_per_mtok: _Own = None
    cache_write_usd_per_mtok: _Own = None
    cache_write_hour_usd_per_mtok: _Own = None
    reasoning_usd_per_mtok: _Own = None
    request_usd: Annotated[Usd, Field(exclude_if=not_)] = 0.0
    tiers: Annotated[tuple[TierSettings, ...], Field(max_length=20, exclude_if=not_)] = ()

    @field_validator("tiers")
    @classmethod
    def _are_in_order(cls, value: tuple[TierSettings, ...]) -> tuple[TierSettings, ...]:
        bounds = [tier.above_input_tokens for tier in value]
        if bounds != sorted(set(bounds)):
            raise ValueError("must be in order of above_input_tokens, each with another bound")
        return value

    def price(self) -> Price:
        """Return the price for actors."""
        rates = {name: getattr(self, name) for name in PriceSettings.model_fields if name != "tiers"}
        return Price(**rates, tiers=tuple(PriceTier(**tier.model_dump()) for tier in self.tiers))


class EndpointSettings(BaseModel):
    """The settings of one endpoint."""

    # Without hide_input_in_errors, an error about a key of the wrong type would quote the key.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[Name, Field(description="names the endpoint in reports; unique")]
    base_url: Annotated[
        str,
        Field(max_length=2048),
        Field(description="what precedes the path that the dialect adds; a preset sets it"),
    ]
    model: Annotated[
        str,
        Field(min_length=1, max_length=256),
        Field(description="the endpoint's name of the model, or PRESET:NAME"),
    ]
    api_key: Annotated[SecretStr, Field(description="write it as ${NAME}")] = SecretStr(NO_KEY)
    max_in_flight: Annotated[
        int,
        Field(ge=1, le=100_000),
        Field(description="upper bound of requests in flight; the limit is learned below it"),
    ] = 1000
    start_in_flight: Annotated[int, Field(ge=1, le=100_000), Field(description="limit at the start")] = 16
    requests_per_minute: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        Field(description="known request rate; absent: learned"),
    ] = None
    tokens_per_minute: Annotated[
        Annotated[float, Field(gt=0, allow_inf_nan=False)] | None,
        Field(description="known token rate; absent: learned"),
    ] = None
    price: Annotated[
        PriceSettings, Field(description="cost of answers; absent: the price that the provider lists")
    ] = PriceSettings()
    max_answer_bytes: Annotated[
        int,
        Field(ge=1024, le=1 << 25),
        Field(description="longest answer read, unpacked; a longer one is unusable"),
    ] = 4 << 20
    # Keys that the first edition did not have are stored only if they are set.
    preset: Annotated[
        Name | None,
        Field(exclude_if=_is_none),
        Field(description="provider whose preset sets the keys that are absent"),
    ] = None
    dialect: Annotated[
        Name, Field(exclude_if=lambda name: name == CHAT), Field(description="format of requests and answers")
    ] = CHAT
    max_tokens: Annotated[
        int | None,
        Field(ge=1, le=1_000_000, exclude_if=_is_none),
        Field(description="bound of the answers of steps that set none; reasoning counts against it"),
    ] = None
    max_tokens_as: Annotated[
        Literal["max_tokens", "max_completion_tokens"],
        Field(exclude_if=lambda name: name == MAX_TOKENS),
        Field(description="how `chat` names the bound of an answer"),
    ] = "max_tokens"
    system_as: Annotated[
        Literal["system", "developer"],
        Field(exclude_if=lambda name: name == "system"),
        Field(description="role of the system message in `chat`"),
    ] = "system"
    seed_as: Annotated[
        Literal["seed", "random_seed"],
        Field(exclude_if=lambda name: name == "seed"),
        Field(description="how `chat` names the parameter `seed`"),
    ] = "seed"
    vectors_as: Annotated[
        dict[Literal["dimensions", "encoding_format"], str],
        Field(exclude_if=not_),
        Field(description="how `chat` names `dimensions` and `encoding_format` in requests for vectors"),
    ] = Field(default_factory=dict)
    refuses: Annotated[
        tuple[str, ...],
        Field(max_length=100, exclude_if=not_),
        Field(description="parameters that the model does not accept"),
    ] = ()
    system: Annotated[
        str | None,
        Field(min_length=1, max_length=100_000, exclude_if=_is_none),
        Field(description="system message of steps that have none"),
    ] = None
    params: Annotated[
        dict[str, Json],
        Field(max_length=100, exclude_if=not_),
        Field(description="members of the body of every request; those of a step replace them"),
    ] = Field(default_factory=dict)
    headers: Annotated[
        dict[str, SecretStr],
        Field(max_length=100, exclude_if=not_),
        Field(description="added to every request; write secrets as ${NAME}"),
    ] = Field(default_factory=dict)
    query: Annotated[
        dict[str, SecretStr],
        Field(max_length=100, exclude_if=not_),
        Field(description="added to the URL of every request; write secrets as ${NAME}"),
    ] = Field(default_factory=dict)
    proxy: Annotated[
        SecretStr | None,
        Field(exclude_if=not_),
        Field(description="HTTP proxy, unless NO_PROXY exempts the host"),
    ] = None
    credentials: Annotated[
        TokenSource | None,
        Field(exclude_if=not_),
        Field(description="tokens that expire, in place of api_key"),
    ] = None
    describe_output: Annotated[
        bool | None,
        Field(exclude_if=lambda value: value is None),
        Field(description="whether requests state the fields in words; absent: the dialect decides"),
    ] = None
    structured: Annotated[
        Literal["native", "tool", "json"],
        Field(exclude_if=lambda way: way == NATIVE),
        Field(description="how the model is made to answer with JSON; some models know only one way"),
    ] = NATIVE

    _listed: dict[str | None, Price | None] = PrivateAttr(default_factory=dict)  # by service tier

    @property
    def known_price(self) -> Price | None:
        """The price that is set, else the dearest that the provider lists for the service tiers in use.

        None if it is not known for one of them.
        """
        if self.has_own_price:
            return self.price.price()
        known = [price for price in self._listed.values() if price is not None]
        if not known or len(known) < len(self._listed):
            return None
        return max(known, key=Price.highest_rates)

    @property
    def has_own_price(self) -> bool:
        """Whether a price is set."""
        return "price" in self.model_fields_set

    @property
    def unlisted_tiers(self) -> list[str]:
        """The service tiers in use for which no price is known."""
        return [tier for tier, price in self._listed.items() if tier is not None and price is None]

    def price_of(self, params: Mapping[str, Json]) -> Price:
        """Return the price of requests of a step with these parameters. An unknown price counts nothing."""
        price = self.price.price() if self.has_own_price else self._listed.get(self._tier(params))
        return price or Price()

    def look_up_price(self, *steps: Mapping[str, Json]) -> None:
        """Look up what the provider lists for the model, unless a price is set. `steps`: their parameters.

        It is kept outside the fields: what is stored and compared is what the user has configured.
        """
        preset = None if self.preset is None else presets().get(self.preset)
        if self.has_own_price or (preset is not None and preset.prices is None):
            return  # such a preset is of a server of one's own
        provider = None if preset is None else preset.prices
        stores_for_hours = any(_FOR_AN_HOUR in str(params) for params in (self.params, *steps))
        for tier in map(self._tier, ({}, *steps)):
            found = listed_price(provider, self.base_url, self.model, tier)
            # A budget reserves the highest price, which must not be that of an unused option.
            self._listed[tier] = found if found is None or stores_for_hours else found.without_hours()

    def _tier(self, params: Mapping[str, Json]) -> str | None:
        tier = {**self.params, **params}.get("service_tier")
        return None if tier is None else str(tier)

    @field_validator("base_url")
    @classmethod
    def _is_a_plain_http_url(cls, value: str) -> str:
        if not _SENDABLE.fullmatch(value):
            raise ValueError("must have no space and only ASCII characters: write others as %20 and the like")
        url = URL(value)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must be an http:// or https:// URL with a host")
        if url.raw_user is not None or url.raw_password is not None:
            raise ValueError("must not contain a user or a password; put the key into api_key")
        if url.raw_query_string or url.raw_fragment:
            raise ValueError("must not contain a query or a fragment")
        return value.rstrip("/")

    @field_validator("proxy", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return value or None  # "${HTTPS_PROXY:-}" without the variable

    @field_validator("proxy")
    @classmethod
    def _is_an_http_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            url = URL(value.get_secret_value())
            if url.scheme != "http" or not url.host or url.raw_path_qs not in ("", "/"):
                raise ValueError("must be http://host:port, with a user and a password if needed")
        return value

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        own = [name for name in value if name.lower() in _OWN_HEADERS]
        if own:
            raise ValueError(f"must not contain {own[0]!r}, which Headrace sets")
        for name, content in value.items():
            line(name, content.get_secret_value())
        return value

    @field_validator("api_key")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr) -> SecretStr:
        key = value.get_secret_value()
        if not key or not all("!" <= character <= "~" for character in key):
            raise ValueError("must be printable ASCII without spaces or line breaks, and not empty")
        return value

    @property
    def key_setting(self) -> str:
        """The setting that authorizes requests."""
        return "api_key" if self.credentials is None else "credentials"

    def key_censor(self) -> Censor:
        """Return a censor of the key, the headers and the query.

        It ignores a placeholder of a few letters, which occurs in other words.
        """
        values = [self.api_key, *self.headers.values(), *self.query.values()]
        values += [self.proxy] if self.proxy is not None else []
        texts = [value.get_secret_value() for value in values]
        hidden = [(text, HIDDEN) for text in texts if len(text) > _PLAIN_KEY_CHARACTERS]
        return Censor(hidden) if hidden else NO_SECRETS
