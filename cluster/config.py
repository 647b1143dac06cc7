"""The configuration: every key, its unit, default and bounds, and what the keys demand of one another.

Rule 1: the names here are a contract with users; times end in ``_s``, money in ``_usd``.
Rule 2: a configuration is checked once, in full, and frozen. Parts of it travel to actors by value.
Rule 3: every bound has a finite default, and every number a largest value that still makes sense.
Rule 4: the environment comes in through `load` alone, as an argument.
Rule 5: a check between two keys belongs to the later one, and runs whenever the earlier is sound by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from actors.core.dimensions import DimensionSettings
from actors.core.messages import Json
from actors.core.prompts import compile_template
from actors.core.retry import RetrySettings
from actors.endpoints.base import EndpointSettings
from actors.endpoints.forms import FieldSpec, IntegerField, NumberField
from actors.sources.files import FilesSettings
from actors.sources.http import HttpSettings
from actors.sources.python import PythonSettings
from actors.sources.simulated import SimulatedSettings
from actors.sources.sql import SqlSettings
from cluster import config_file

# ---- building blocks -------------------------------------------------------------------------------------


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _problem(message: str, *loc: str | int) -> InitErrorDetails:
    # As a context, since pydantic would take braces in the message itself for places to fill.
    return InitErrorDetails(
        type=PydanticCustomError("cross_check", "{m}", {"m": message}), loc=loc, input=None
    )


def _raise(problems: Sequence[InitErrorDetails]) -> None:
    # A ValidationError raised by a validator keeps its locations: each problem is shown where it lies, and
    # all of them are, which a ValueError would not allow.
    if problems:
        raise ValidationError.from_exception_data("config", [*problems])


def _repeated(keys: Iterable[str], what: str, *within: str) -> list[InitErrorDetails]:
    listed = list(keys)
    first = {key: index for index, key in reversed(list(enumerate(listed)))}
    return [
        _problem(f"{what} {key!r} is taken by entry {first[key]} already", index, *within)
        for index, key in enumerate(listed)
        if first[key] != index
    ]


def _check_template(text: str) -> str:
    compile_template(text)
    return text


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]
LocalPath = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Prompt = Annotated[str, Field(min_length=1, max_length=100_000), AfterValidator(_check_template)]
Rate = Annotated[int, Field(ge=1, le=1_000_000_000)]

# ---- tasks -----------------------------------------------------------------------------------------------


class FileTasks(_Section):
    """One task a line (.jsonl) or row (.csv, .parquet)."""

    kind: Literal["file"]
    path: Annotated[LocalPath, Field(description="a .jsonl, .csv or .parquet file")]

    @field_validator("path")
    @classmethod
    def _has_a_known_suffix(cls, value: str) -> str:
        if Path(value).suffix.lower() not in (".jsonl", ".csv", ".parquet"):
            raise ValueError("a file of tasks must end in .jsonl, .csv or .parquet")
        return value


class RangeTasks(_Section):
    """So many tasks with numbered keys."""

    kind: Literal["range"]
    count: Annotated[int, Field(ge=1, le=1_000_000_000, description="number of tasks")]
    prefix: Annotated[str, Field(max_length=256, description="what every key begins with")] = "task-"


class InlineTask(_Section):
    """One task, written in the configuration itself."""

    key: Annotated[str, Field(min_length=1, max_length=512, description="names the task; unique in a run")]
    params: Annotated[dict[str, Json], Field(description="own values, usable in templates by name")] = {}


def _task_of_key(value: Any) -> Any:
    return {"key": value} if isinstance(value, str) else value


class InlineTasks(_Section):
    """A few tasks, listed."""

    kind: Literal["inline"]
    tasks: Annotated[
        tuple[
            Annotated[InlineTask, BeforeValidator(_task_of_key, json_schema_input_type=str | InlineTask)], ...
        ],
        Field(min_length=1, description="each a key, or a mapping of key and params"),
    ]

    @field_validator("tasks")
    @classmethod
    def _keys_differ(cls, value: tuple[InlineTask, ...]) -> tuple[InlineTask, ...]:
        _raise(_repeated((task.key for task in value), "the key"))
        return value


Tasks = Annotated[FileTasks | RangeTasks | InlineTasks, Field(discriminator="kind")]
AnySource = Annotated[
    SimulatedSettings | FilesSettings | HttpSettings | SqlSettings | PythonSettings,
    Field(discriminator="kind"),
]

# ---- llm -------------------------------------------------------------------------------------------------


class LLMSimulatorSettings(_Section):
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


class RetryKeys(_Section):
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


class LLMSettings(_Section):
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
    cache: Annotated[bool, Field(description="reuse answers of equal calls across runs")] = False

    @field_validator("endpoints")
    @classmethod
    def _names_differ(cls, value: tuple[EndpointSettings, ...]) -> tuple[EndpointSettings, ...]:
        _raise(_repeated((endpoint.name for endpoint in value), "the name", "name"))
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


# ---- questions and dimensions ----------------------------------------------------------------------------


class EvaluateSettings(_Section):
    """The question asked about every item, and the form of its answer."""

    prompt: Annotated[
        Prompt, Field(description="template: {key} {text} {source} {id} {fields}, and the task's params")
    ]
    output: Annotated[
        dict[FieldName, FieldSpec],
        Field(min_length=1, max_length=100, description="the answer's fields by name"),
    ]
    reask: Annotated[int, Field(ge=0, le=10, description="further askings when an answer does not fit")] = 2
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000, description="length of an answer, tokens")] = 200


class Dimension(_Section):
    """An aspect that is reported on."""

    name: Annotated[Name, Field(description="unique among the dimensions")]
    field: Annotated[str, Field(description="a numeric field of evaluate.output that has min and max")]
    weight: Annotated[
        float, Field(ge=-1e6, le=1e6, description="in the overall score; below 0: less is better")
    ] = 1.0
    synthesize: Annotated[
        Prompt | None,
        Field(
            description="template of the finding's prompt: {key} {evidence} {dimension} {score} {low} {high} "
            "{n}, and the task's params; none: no finding is written"
        ),
    ] = None

    def settings(self, output: Mapping[str, FieldSpec]) -> DimensionSettings:
        """Return what the aggregation needs to know. Raises ValueError where the field does not serve."""
        spec = output.get(self.field)
        match spec:
            case NumberField(min=float(low), max=float(high)) | IntegerField(min=int(low), max=int(high)):
                return DimensionSettings(self.name, self.field, self.weight, self.synthesize, low, high)
            case NumberField() | IntegerField():
                raise ValueError(f"field {self.field!r} needs min and max in evaluate.output to be scored")
        numeric = [name for name, it in output.items() if isinstance(it, NumberField | IntegerField)]
        fault = "is not numeric" if spec else "is not in evaluate.output"
        known = f"numeric fields: {', '.join(numeric)}" if numeric else "it has no numeric field"
        raise ValueError(f"field {self.field!r} {fault}; {known}")


# ---- the rest --------------------------------------------------------------------------------------------


class LimitSettings(_Section):
    """What a run may take up."""

    active_tasks: Annotated[int, Field(ge=1, le=1_000_000, description="tasks worked on at once")] = 1000
    accepted_tasks: Annotated[
        int,
        Field(ge=1, le=10_000_000, validate_default=True, description="tasks accepted and not yet ended"),
    ] = 10_000
    task_deadline_s: Annotated[
        float, Field(gt=0, le=604_800, description="from acceptance to the end of a task, seconds")
    ] = 600.0
    budget_usd: Annotated[float | None, Field(gt=0, le=1e9, description="money a run may spend")] = None
    budget_tokens: Annotated[int | None, Field(gt=0, le=10**15, description="tokens a run may spend")] = None

    @field_validator("accepted_tasks")
    @classmethod
    def _holds_the_active_ones(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("active_tasks", 0):
            raise ValueError(
                f"accepted_tasks must be at least active_tasks, which is {info.data['active_tasks']}"
            )
        return value


class _Store(_Section):
    keep: Annotated[
        Literal["reports", "calls", "auto"],
        Field(
            description="of ended tasks: reports, or calls as well; auto: calls as well up to 10,000 tasks"
        ),
    ] = "auto"


class SqliteStore(_Store):
    """State in one file, on the node of the journal."""

    kind: Literal["sqlite"]
    path: Annotated[LocalPath, Field(description="the database's file")] = ".headrace/state.db"


class PostgresStore(_Store):
    """State in PostgreSQL: outlives any one disk."""

    kind: Literal["postgres"]
    url: Annotated[SecretStr, Field(min_length=1, description="postgresql://user:password@host/database")]


class RedisStore(_Store):
    """State in Redis, which must keep an append-only file and sync it always."""

    kind: Literal["redis"]
    url: Annotated[SecretStr, Field(min_length=1, description="redis://user:password@host:port/0")]


class MemoryStore(_Store):
    """State in memory: gone when its actor is."""

    kind: Literal["memory"]


Store = Annotated[SqliteStore | PostgresStore | RedisStore | MemoryStore, Field(discriminator="kind")]
Format = Literal["jsonl", "parquet"]


def _formats(value: Any) -> Any:
    # In strict mode a tuple is the only list that pydantic takes from a validator.
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class OutputSettings(_Section):
    """Where results go."""

    directory: Annotated[LocalPath, Field(description="holds one directory for each run")] = "runs"
    format: Annotated[
        tuple[Format, ...],
        BeforeValidator(_formats, json_schema_input_type=Format | tuple[Format, ...]),
        Field(min_length=1, description="jsonl, parquet, or a list of both"),
    ] = ("jsonl",)

    @field_validator("format")
    @classmethod
    def _formats_differ(cls, value: tuple[Format, ...]) -> tuple[Format, ...]:
        _raise(_repeated(value, "the format"))
        return value


class ClusterSettings(_Section):
    """How the application spreads."""

    pipelines: Annotated[int, Field(ge=1, le=256, description="pipeline actors; tasks shard by key")] = 1
    dashboard: Annotated[bool, Field(description="start Ray's dashboard with a local cluster")] = False


class HeadraceConfig(_Section):
    """All that a run needs to know."""

    name: Annotated[Name, Field(description="names the runs")] = "headrace"
    tasks: Annotated[Tasks | None, Field(description="what to report on; none: tasks come over HTTP")] = None
    sources: Annotated[
        tuple[AnySource, ...], Field(min_length=1, max_length=1000, description="where data is")
    ]
    llm: Annotated[LLMSettings, Field(description="who evaluates")] = LLMSettings()
    evaluate: Annotated[EvaluateSettings, Field(description="what is asked about an item")]
    dimensions: Annotated[
        tuple[Dimension, ...], Field(min_length=1, max_length=1000, description="what is reported on")
    ]
    limits: Annotated[LimitSettings, Field(description="what a run may take up")] = LimitSettings()
    store: Annotated[Store, Field(description="where state is kept")] = SqliteStore(kind="sqlite")
    output: Annotated[OutputSettings, Field(description="where results go")] = OutputSettings()
    cluster: Annotated[ClusterSettings, Field(description="how the application spreads")] = ClusterSettings()

    @field_validator("sources")
    @classmethod
    def _source_names_differ(cls, value: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        _raise(_repeated((source.name for source in value), "the name", "name"))
        return value

    @field_validator("dimensions")
    @classmethod
    def _dimensions_rest_on_numbers(
        cls, value: tuple[Dimension, ...], info: ValidationInfo
    ) -> tuple[Dimension, ...]:
        problems = _repeated((dimension.name for dimension in value), "the name", "name")
        for index, dimension in enumerate(value if "evaluate" in info.data else ()):
            try:
                dimension.settings(info.data["evaluate"].output)
            except ValueError as error:
                problems.append(_problem(str(error), index, "field"))
        _raise(problems)
        return value

    def dimension_settings(self) -> tuple[DimensionSettings, ...]:
        """Return the dimensions as the aggregation wants them, with the scales of their fields."""
        return tuple(dimension.settings(self.evaluate.output) for dimension in self.dimensions)


# ---- what callers use ------------------------------------------------------------------------------------


def load(path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]) -> HeadraceConfig:
    """Return the configuration in the YAML file at `path`, with ``a.b=value`` `overrides` and `env` put in.

    Raises `ConfigFileError`, a `ConfigError`, with every problem found.
    """
    return config_file.load_model(HeadraceConfig, path, overrides=overrides, env=env)


def schema() -> dict[str, Json]:
    """Return the JSON Schema of the configuration, for editors; ``${NAME}`` may stand for any scalar."""
    described: dict[str, Json] = _with_references(HeadraceConfig.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}


def _with_references(node: Json) -> Json:
    if isinstance(node, list):
        return [_with_references(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") not in ("integer", "number", "boolean"):
        return {key: _with_references(value) for key, value in node.items()}
    told = {key: node[key] for key in ("description", "default", "title") if key in node}
    bare = {key: value for key, value in node.items() if key not in told}
    return {**told, "anyOf": [bare, {"type": "string", "pattern": r"\$\{"}]}


def summary_lines(config: HeadraceConfig) -> list[str]:
    """Return what would run, in plain words and without secrets, one fact a line."""
    sources = [f"{it.name} ({it.kind}{', required' if it.required else ''})" for it in config.sources]
    dimensions = [f"{it.name} (of {it.field}, weight {it.weight:g})" for it in config.dimensions]
    limits = config.limits
    budgets = [
        f"{limit:,.10g} {unit}"
        for limit, unit in ((limits.budget_usd, "USD"), (limits.budget_tokens, "tokens"))
        if limit is not None
    ]
    store = config.store
    place = f" at {store.path}" if isinstance(store, SqliteStore) else ""
    return [
        f"run: {config.name}",
        f"tasks: {_tasks_in_words(config.tasks)}",
        f"sources: {', '.join(sources)}",
        *_endpoint_lines(config.llm),
        f"dimensions: {', '.join(dimensions)}",
        f"calls: {_calls_in_words(config)}",
        f"limits: {limits.active_tasks:,} tasks at once, {limits.task_deadline_s:g} s for each",
        f"budget: {' and '.join(budgets) or 'none set'}",
        f"store: {store.kind}{place}, keep {store.keep}",
        f"output: {' and '.join(config.output.format)} in {config.output.directory}",
    ]


def _tasks_in_words(tasks: FileTasks | RangeTasks | InlineTasks | None) -> str:
    match tasks:
        case FileTasks():
            return f"read from {tasks.path}, counted as they are read"
        case RangeTasks():
            return f"{tasks.count:,}, keys begin with {tasks.prefix!r}"
        case InlineTasks():
            return f"{len(tasks.tasks):,}, listed in the configuration"
        case None:
            return "none configured"


def _endpoint_lines(llm: LLMSettings) -> list[str]:
    if llm.simulator is not None:
        return [f"endpoint: a simulated model, started for the run ({llm.simulator.latency_s:g} s an answer)"]
    return [
        f"endpoint: {it.name}, model {it.model} at {it.base_url}, at most {it.max_in_flight:,} in flight"
        for it in llm.endpoints
    ]


def _calls_in_words(config: HeadraceConfig) -> str:
    findings = sum(dimension.synthesize is not None for dimension in config.dimensions)
    simulated = [source.items for source in config.sources if isinstance(source, SimulatedSettings)]
    if len(simulated) < len(config.sources):
        return f"one for each item of a task (how many is known once fetched), and {findings} for findings"
    each = sum(simulated) + findings
    told = f"{each:,} a task ({sum(simulated):,} items, {findings} for findings)"
    match config.tasks:
        case RangeTasks(count=count):
            return f"{told}, {count * each:,} in all"
        case InlineTasks(tasks=tasks):
            return f"{told}, {len(tasks) * each:,} in all"
        case _:
            return told
