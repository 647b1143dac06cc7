"""The section `llm`: who evaluates and writes, and when an attempt is made again.

Rule: there is always somebody to ask: without an endpoint the simulator stands in, and never beside one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from actors.core.limits.hedge import HedgeSettings
from actors.core.limits.retry import RetrySettings
from actors.llm.endpoint import EndpointSettings
from cluster.config.base import LocalPath, Rate, Section, raise_all, repeated


class LLMSimulatorSettings(Section):
    """The simulated endpoint that runs where no real one is configured: ``python -m simulators.llm``.

    Its capacity is its own: as with a real endpoint, nobody tells the dispatcher.
    """

    seed: Annotated[int, Field(ge=0, le=2**63 - 1, description="equal seeds give equal answers")] = 0
    latency_s: Annotated[float, Field(ge=0, le=3600, description="median time of an answer, seconds")] = 0.3
    sigma: Annotated[float, Field(ge=0, le=5, description="spread of its logarithm")] = 0.4
    slots: Annotated[int, Field(ge=0, le=1_000_000, description="in flight before it slows; 0: never")] = 0
    cap: Annotated[int, Field(ge=0, le=1_000_000, description="in flight before it refuses; 0: never")] = 0
    knee: Annotated[int, Field(ge=0, le=1_000_000, description="in flight before it queues; 0: never")] = 0
    retry_after_s: Annotated[float, Field(ge=0, le=3600, description="told beyond cap, seconds")] = 1.0
    requests_per_minute: Annotated[Rate | None, Field(description="requests it takes in a minute")] = None
    tokens_per_minute: Annotated[Rate | None, Field(description="tokens it takes in a minute")] = None
    burst_s: Annotated[
        float, Field(gt=0, le=3600, description="seconds of a rate that may be taken at once")
    ] = 60.0
    idempotency: Annotated[bool, Field(description="answer a repeated Idempotency-Key without billing")] = (
        True
    )
    output_tokens: Annotated[int, Field(ge=1, le=1_000_000, description="median length of an answer")] = 60
    faults: Annotated[LocalPath | None, Field(description="file of the faults it makes")] = None
    ledger: Annotated[LocalPath | None, Field(description="file that every request is written to")] = None
    max_in_flight: Annotated[
        int, Field(ge=1, le=100_000, description="requests in flight from this side, at most")
    ] = 1000

    def arguments(self) -> list[str]:
        """Return the command line of ``python -m simulators.llm``, without the port."""
        given = self.model_dump(exclude={"max_in_flight", "idempotency"}, exclude_none=True)
        flags = [] if self.idempotency else ["--no-idempotency"]
        return [*(f"--{key.replace('_', '-')}={value}" for key, value in given.items()), *flags]

    def endpoint(self, base_url: str) -> EndpointSettings:
        """Return the endpoint that a simulator at `base_url` stands for."""
        return EndpointSettings(
            name="simulator", base_url=base_url, model="sim", max_in_flight=self.max_in_flight
        )


class RetryKeys(Section):
    """When a failed attempt at a call is made again."""

    attempts: Annotated[int, Field(ge=1, le=100, description="for one call, the first included")] = 6
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
        """Return what the retry policy needs to know."""
        return RetrySettings(self.attempts, self.base_s, self.cap_s, self.budget)


class HedgeKeys(Section):
    """When a second attempt is made beside one that says nothing. All answers are streamed then."""

    after_s: Annotated[float, Field(gt=0, le=3600, description="without a byte of an answer, seconds")]
    budget: Annotated[
        float, Field(gt=0, le=1, description="second attempts per attempt, over all calls; each may be paid")
    ] = 0.02

    def settings(self) -> HedgeSettings:
        """Return what the dispatcher needs to know."""
        return HedgeSettings(self.after_s, self.budget)


class LLMSettings(Section):
    """Who evaluates and writes: `endpoints`, or where there are none, `simulator`, which then is not None."""

    endpoints: Annotated[
        tuple[EndpointSettings, ...],
        Field(max_length=100, description="OpenAI-compatible URLs; none: the simulator is started"),
    ] = ()
    simulator: Annotated[
        LLMSimulatorSettings | None, Field(validate_default=True, description="only without endpoints")
    ] = None
    clients: Annotated[int, Field(ge=1, le=1000, description="LLM client actors over the cluster")] = 2
    timeout_s: Annotated[float, Field(gt=0, le=3600, description="for one attempt, seconds")] = 60.0
    retry: Annotated[RetryKeys, Field(description="when an attempt is made again")] = RetryKeys()
    hedge: Annotated[
        HedgeKeys | None, Field(description="a second attempt beside a silent one; none: never")
    ] = None
    cache: Annotated[bool, Field(description="equal calls of all tasks and runs share an answer")] = False

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, value: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        raise_all(repeated((endpoint.name for endpoint in value), "the name", "name"))
        return value

    @field_validator("simulator")
    @classmethod
    def _stands_in_for_endpoints(
        cls, value: LLMSimulatorSettings | None, info: ValidationInfo
    ) -> LLMSimulatorSettings | None:
        endpoints = info.data.get("endpoints", "unsound")
        if endpoints and value and endpoints != "unsound":
            raise ValueError("simulator and endpoints exclude each other; remove one")
        return value if endpoints else value or LLMSimulatorSettings()


def unpriced(endpoints: Sequence[EndpointSettings]) -> str | None:
    """Return why a budget in US dollars could be exceeded at these endpoints; None where all have prices."""
    without = [index for index, each in enumerate(endpoints) if "price" not in each.model_fields_set]
    if without:
        names = ", ".join(endpoints[index].name for index in without)
        keys = ", ".join(f"llm.endpoints.{index}.price" for index in without)
        return f"no price is set for {names}, whose answers would cost this budget nothing; set {keys}"
    if endpoints and not any(
        each.price.input_usd_per_mtok + each.price.output_usd_per_mtok for each in endpoints
    ):
        return "all prices of llm.endpoints are 0, so that it would never bind; set a price, or budget_tokens"
    return None
