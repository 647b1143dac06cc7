"""The section `llm`: endpoints, and when a failed attempt is repeated.

Rule: a configuration has either endpoints or the simulator, never both and never neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

from msgspec import to_builtins
from pydantic import Field, ValidationInfo, field_validator

from actors.core.errors import ConfigError
from actors.core.limits.hedge import HedgeSettings
from actors.core.limits.retry import RetrySettings
from actors.core.messages.values import Json
from actors.llm.dialects.registry import dialect_names, dialect_of
from actors.llm.endpoint import EndpointSettings, PriceSettings
from actors.llm.listed_prices import PACKAGE, is_own
from actors.llm.requests.attachments import DEFAULT_ATTACHMENTS, AttachmentSettings
from actors.runtime.plugins import UnknownPluginError
from cluster.config.base import LocalPath, Rate, Section, problem_at, raise_all, repeated
from cluster.config.problem import nearest

_EXAMPLE_PRICE = "{input_usd_per_mtok: 0.5, output_usd_per_mtok: 1.5}"
SIMULATED = "sim"  # the model of the simulator


class LLMSimulatorSettings(Section):
    """The simulated endpoint of a run without a real one: ``python -m simulators.llm``.

    The dispatcher does not know its capacity, as with a real endpoint.
    """

    seed: Annotated[int, Field(ge=0, le=2**63 - 1, description="equal seeds give equal answers")] = 0
    latency_s: Annotated[float, Field(ge=0, le=3600, description="median time of an answer, seconds")] = 0.3
    sigma: Annotated[float, Field(ge=0, le=5, description="spread of its logarithm")] = 0.4
    slots: Annotated[int, Field(ge=0, le=1_000_000, description="in flight before it slows; 0: never")] = 0
    cap: Annotated[int, Field(ge=0, le=1_000_000, description="in flight before it refuses; 0: never")] = 0
    knee: Annotated[int, Field(ge=0, le=1_000_000, description="in flight before it queues; 0: never")] = 0
    retry_after_s: Annotated[float, Field(ge=0, le=3600, description="Retry-After beyond cap, seconds")] = 1.0
    requests_per_minute: Annotated[Rate | None, Field(description="requests that it accepts per minute")] = (
        None
    )
    tokens_per_minute: Annotated[Rate | None, Field(description="tokens that it accepts per minute")] = None
    burst_s: Annotated[
        float, Field(gt=0, le=3600, description="seconds of a rate that may be used at once")
    ] = 60.0
    idempotency: Annotated[bool, Field(description="answer a repeated Idempotency-Key without billing")] = (
        True
    )
    output_tokens: Annotated[int, Field(ge=1, le=1_000_000, description="median length of an answer")] = 60
    faults: Annotated[LocalPath | None, Field(description="file of the faults to inject")] = None
    ledger: Annotated[LocalPath | None, Field(description="file that every request is written to")] = None
    max_in_flight: Annotated[
        int, Field(ge=1, le=100_000, description="most requests in flight from this side")
    ] = 1000

    def arguments(self) -> list[str]:
        """Return the command line of ``python -m simulators.llm``, without the port."""
        given = self.model_dump(exclude={"max_in_flight", "idempotency"}, exclude_none=True)
        flags = [] if self.idempotency else ["--no-idempotency"]
        return [*(f"--{key.replace('_', '-')}={value}" for key, value in given.items()), *flags]

    def endpoint(self, base_url: str) -> EndpointSettings:
        """Return the endpoint that a simulator at `base_url` stands for."""
        return EndpointSettings(
            name="simulator",
            base_url=base_url,
            model=SIMULATED,
            max_in_flight=self.max_in_flight,
            price=PriceSettings(),  # it is free; without the section its price would be unknown
            describe_output=False,  # it answers by the schema
        )


class RetryKeys(Section):
    """When a failed attempt at a call is repeated."""

    attempts: Annotated[int, Field(ge=1, le=100, description="attempts at one call, including the first")] = 6
    base_s: Annotated[float, Field(gt=0, le=3600, description="longest wait before the second attempt")] = 0.5
    cap_s: Annotated[float, Field(gt=0, le=3600, description="longest wait before any attempt")] = 30.0
    budget: Annotated[float, Field(ge=0, le=10, description="retries per call, over all calls")] = 0.2

    @field_validator("cap_s")
    @classmethod
    def _cap_is_above_base(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("base_s", 0):
            raise ValueError(f"cap_s must be at least base_s, which is {info.data['base_s']:g}")
        return value

    def settings(self) -> RetrySettings:
        """Return the settings of the retry policy."""
        return RetrySettings(self.attempts, self.base_s, self.cap_s, self.budget)


class HedgeKeys(Section):
    """When a second attempt is started beside a silent one. It makes the clients stream all answers."""

    after_s: Annotated[float, Field(gt=0, le=3600, description="time without a byte of an answer, seconds")]
    budget: Annotated[
        float, Field(gt=0, le=1, description="second attempts per attempt, over all calls; each may be paid")
    ] = 0.02

    def settings(self) -> HedgeSettings:
        """Return the settings of the dispatcher."""
        return HedgeSettings(self.after_s, self.budget)


class LLMSettings(Section):
    """The models that answer calls: `endpoints`, or without them `simulator`, which then is not None."""

    endpoints: Annotated[
        tuple[EndpointSettings, ...],
        Field(max_length=100, description="where models are served; none: the simulator is started"),
    ] = ()
    simulator: Annotated[
        LLMSimulatorSettings | None, Field(validate_default=True, description="only without endpoints")
    ] = None
    clients: Annotated[int, Field(ge=1, le=1000, description="LLM client actors over the cluster")] = 2
    timeout_s: Annotated[float, Field(gt=0, le=3600, description="for one attempt, seconds")] = 60.0
    retry: Annotated[RetryKeys, Field(description="when an attempt is repeated")] = RetryKeys()
    hedge: Annotated[
        HedgeKeys | None, Field(description="a second attempt beside a silent one; none: never")
    ] = None
    attachments: Annotated[
        AttachmentSettings,
        Field(
            exclude_if=lambda given: given == DEFAULT_ATTACHMENTS,
            description="files that are sent with prompts",
        ),
    ] = DEFAULT_ATTACHMENTS
    cache: Annotated[
        bool | None,
        Field(
            description="equal calls of all tasks and runs share an answer; "
            "none: if there are `tasks` and no `sources`"
        ),
    ] = None

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, value: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        raise_all(repeated((endpoint.name for endpoint in value), "the name", "name"))
        return value

    @field_validator("endpoints")
    @classmethod
    def _dialects_take_the_parameters(
        cls, value: tuple[EndpointSettings, ...]
    ) -> tuple[EndpointSettings, ...]:
        problems = []
        for index, endpoint in enumerate(value):
            try:
                dialect = dialect_of(endpoint)
                problem = dialect.problem(endpoint.params)
            except ConfigError as error:
                problems.append(problem_at(_unknown_dialect(endpoint.dialect, error), index, "dialect"))
                continue
            if problem is not None:
                problems.append(problem_at(problem, index, "params"))
            if endpoint.structured not in dialect.ways:
                known = f"the dialect {endpoint.dialect} has {' and '.join(dialect.ways)}"
                problems.append(
                    problem_at(f"{endpoint.structured} is unknown there: {known}", index, "structured")
                )
        raise_all(problems)
        return value

    @field_validator("endpoints")
    @classmethod
    def _prices_are_looked_up(cls, value: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        for endpoint in value:
            endpoint.look_up_price()
        return value

    @field_validator("simulator")
    @classmethod
    def _replaces_missing_endpoints(
        cls, value: LLMSimulatorSettings | None, info: ValidationInfo
    ) -> LLMSimulatorSettings | None:
        endpoints = info.data.get("endpoints", "invalid")
        if endpoints and value and endpoints != "invalid":
            raise ValueError("simulator and endpoints exclude each other; remove one")
        return value if endpoints else value or LLMSimulatorSettings()

    def served(self, simulator_url: str) -> list[EndpointSettings]:
        """Return the endpoints, or the one of the simulator at `simulator_url`."""
        return [*self.endpoints] if self.simulator is None else [self.simulator.endpoint(simulator_url)]

    def listed_prices(self) -> dict[str, Json]:
        """Return the listed prices that the run uses, by endpoint, with the version of their list."""
        listed = [one for one in self.endpoints if not one.has_own_price]
        return {
            one.name: {"source": f"{PACKAGE} {version(PACKAGE)}", **to_builtins(one.known_price)}
            for one in listed
            if one.known_price is not None
        }

    @property
    def is_priced(self) -> bool:
        """Whether the cost of every answer is known. The simulator is free."""
        return not _without_price(self.endpoints)


def _unknown_dialect(name: str, error: ConfigError) -> str:
    if not isinstance(error, UnknownPluginError):
        return str(error)
    known = [*dialect_names(), *error.known]
    near = nearest(name, known)
    return f"unknown dialect {name!r}; " + (f"did you mean {near}?" if near else f"known: {', '.join(known)}")


def unpriced(endpoints: Sequence[EndpointSettings], *, of_own_servers: bool = True) -> str | None:
    """Return why the cost at these endpoints is not known, and what to do; None if it is known.

    of_own_servers: whether servers on this host and in private networks count.
    """
    without = [
        index
        for index in _without_price(endpoints)
        if of_own_servers or not is_own(endpoints[index].base_url)
    ]
    if not without:
        return None
    names = ", ".join(_unpriced_name(endpoints[index]) for index in without)
    flags = " ".join(f"--set 'llm.endpoints.{index}.price={_EXAMPLE_PRICE}'" for index in without)
    return f"no price is known for {names}; set it in US dollars per million tokens, such as {flags}"


def unlimited(endpoints: Sequence[EndpointSettings]) -> str | None:
    """Return why a budget in US dollars would not limit the cost at these endpoints, None if it would."""
    is_free = all(each.known_price is not None and each.known_price.is_free for each in endpoints)
    if endpoints and is_free:
        return "all prices of llm.endpoints are 0, so that no budget is spent; set a price, or budget_tokens"
    return unpriced(endpoints)


def _unpriced_name(endpoint: EndpointSettings) -> str:
    tiers = "".join(f", service_tier {tier}" for tier in endpoint.unlisted_tiers)
    return f"{endpoint.name} (model {endpoint.model}{tiers})"


def _without_price(endpoints: Sequence[EndpointSettings]) -> list[int]:
    return [index for index, each in enumerate(endpoints) if each.known_price is None]
