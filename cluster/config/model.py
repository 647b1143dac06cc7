"""The configuration: every key, its unit, default and bounds, and what the keys demand of one another.

Rule 1: the names here are a contract with users; times end in ``_s``, money in ``_usd``.
Rule 2: a configuration is checked once, in full, and frozen. Parts of it travel to actors by value.
Rule 3: every bound has a finite default, and every number a largest value that still makes sense.
Rule 4: the environment comes in through `load` alone, as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator

from actors.core.censor import Censor
from actors.core.messages.values import Json
from actors.core.task.dimensions import DimensionSettings
from actors.llm.forms import FieldSpec, IntegerField, NumberField
from actors.sources.files.source import FilesSettings
from actors.sources.http import HttpSettings
from actors.sources.python import PythonSettings
from actors.sources.simulated import SimulatedSettings
from actors.sources.sql.settings import SqlSettings
from cluster.config.base import FieldName, LocalPath, Name, Prompt, Section, problem_at, raise_all, repeated
from cluster.config.check import load_checked
from cluster.config.defaults import LEASE_S, STORE_PATH
from cluster.config.file import Document
from cluster.config.llm import LLMSettings, unpriced
from cluster.config.paths import Steps
from cluster.config.problem import ConfigFileError
from cluster.config.secrets import literals, stored
from cluster.config.tasks import Tasks

AnySource = Annotated[
    SimulatedSettings | FilesSettings | HttpSettings | SqlSettings | PythonSettings,
    Field(discriminator="kind"),
]

# ---- questions and dimensions ----------------------------------------------------------------------------


class EvaluateSettings(Section):
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


class Dimension(Section):
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


class LimitSettings(Section):
    """What a run may take up."""

    active_tasks: Annotated[int, Field(ge=1, le=1_000_000, description="tasks worked on at once")] = 1000
    accepted_tasks: Annotated[
        int,
        Field(ge=1, le=10_000_000, validate_default=True, description="tasks accepted and not yet ended"),
    ] = 10_000
    task_deadline_s: Annotated[
        float,
        Field(gt=0, le=604_800, description="from acceptance, or a resume, to the end of a task, seconds"),
    ] = 600.0
    max_task_bytes: Annotated[
        int,
        Field(ge=1024, le=2**24, description="of one task of a file or listing: its params as JSON"),
    ] = 2**20
    max_collected_bytes: Annotated[
        int,
        # The store takes values of 64 MiB.
        Field(ge=1024, le=50_000_000, description="of the items of a task from all sources, as JSON"),
    ] = 2**25
    budget_usd: Annotated[float | None, Field(gt=0, le=1e9, description="money a run may spend")] = None
    budget_tokens: Annotated[int | None, Field(gt=0, le=10**15, description="tokens a run may spend")] = None
    tenant_weights: Annotated[
        dict[Name, Annotated[float, Field(gt=0, le=1_000_000)]],
        Field(max_length=10_000, description="what each tenant gets beside others"),
    ] = Field(default_factory=dict)

    @field_validator("accepted_tasks")
    @classmethod
    def _holds_the_active_ones(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("active_tasks", 0):
            raise ValueError(
                f"accepted_tasks must be at least active_tasks, which is {info.data['active_tasks']}"
            )
        return value


class _StoreSection(Section):
    keep: Annotated[
        Literal["reports", "calls", "auto"],
        Field(
            description="of ended tasks: reports, or calls as well; auto: calls as well up to 10,000 tasks"
        ),
    ] = "auto"

    lease_s: Annotated[
        float,
        Field(ge=0.5, le=600, description="a run whose process was killed is free for another after this"),
    ] = LEASE_S
    give_up_s: Annotated[
        float,
        Field(ge=1, le=604_800, description="a run waits for a store that is away for so long, then ends"),
    ] = 86_400.0


class SqliteSection(_StoreSection):
    """State in one file, on the node of the journal."""

    kind: Literal["sqlite"]
    path: Annotated[LocalPath, Field(description="the database's file")] = STORE_PATH


class PostgresSection(_StoreSection):
    """State in PostgreSQL: outlives any one disk."""

    kind: Literal["postgres"]
    url: Annotated[SecretStr, Field(min_length=1, description="postgresql://user:password@host/database")]


class RedisSection(_StoreSection):
    """State in Redis, which must keep an append-only file and sync it always."""

    kind: Literal["redis"]
    url: Annotated[SecretStr, Field(min_length=1, description="redis://user:password@host:port/0")]


class MemorySection(_StoreSection):
    """State in memory: gone when its actor is."""

    kind: Literal["memory"]


Store = Annotated[SqliteSection | PostgresSection | RedisSection | MemorySection, Field(discriminator="kind")]
Format = Literal["jsonl", "parquet"]


def _formats(value: Any) -> Any:
    # In strict mode a tuple is the only list that pydantic takes from a validator.
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


class OutputSettings(Section):
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
        raise_all(repeated(value, "the format"))
        return value


class ClusterSettings(Section):
    """How the application spreads."""

    engine: Annotated[
        Literal["auto", "local", "ray"],
        Field(
            description="where actors run: in one process, or on a Ray cluster; `auto` is `ray` with "
            "`--address`, `RAY_ADDRESS` or inside a Ray job, else `local`"
        ),
    ] = "auto"
    pipelines: Annotated[int, Field(ge=1, le=256, description="pipeline actors; tasks shard by key")] = 1
    dashboard: Annotated[
        bool, Field(description="start Ray's dashboard with the cluster that a run starts")
    ] = True


class HttpApiSettings(Section):
    """How the HTTP API is served."""

    haproxy: Annotated[
        bool, Field(description="put HAProxy before the replicas in place of Ray Serve's own proxy")
    ] = False


class HeadraceConfig(Section):
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
    store: Annotated[Store, Field(description="where state is kept")] = SqliteSection(kind="sqlite")
    output: Annotated[OutputSettings, Field(description="where results go")] = OutputSettings()
    cluster: Annotated[ClusterSettings, Field(description="how the application spreads")] = ClusterSettings()
    http: Annotated[HttpApiSettings, Field(description="how the HTTP API is served")] = HttpApiSettings()

    _written: Mapping[Steps, str] = PrivateAttr(default_factory=dict)
    _secrets: tuple[tuple[str, str], ...] = PrivateAttr(default=())

    @field_validator("sources")
    @classmethod
    def _source_names_differ(cls, value: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        raise_all(repeated((source.name for source in value), "the name", "name"))
        return value

    @field_validator("dimensions")
    @classmethod
    def _dimensions_rest_on_numbers(
        cls, value: tuple[Dimension, ...], info: ValidationInfo
    ) -> tuple[Dimension, ...]:
        problems = repeated((dimension.name for dimension in value), "the name", "name")
        for index, dimension in enumerate(value if "evaluate" in info.data else ()):
            try:
                dimension.settings(info.data["evaluate"].output)
            except ValueError as error:
                problems.append(problem_at(str(error), index, "field"))
        raise_all(problems)
        return value

    @field_validator("limits")
    @classmethod
    def _budget_has_prices(cls, value: LimitSettings, info: ValidationInfo) -> LimitSettings:
        endpoints = info.data["llm"].endpoints if "llm" in info.data else ()
        problem = unpriced(endpoints) if value.budget_usd is not None else None
        raise_all([problem_at(problem, "budget_usd")] if problem else [])
        return value

    def dimension_settings(self) -> tuple[DimensionSettings, ...]:
        """Return the dimensions as the aggregation wants them, with the scales of their fields."""
        return tuple(dimension.settings(self.evaluate.output) for dimension in self.dimensions)

    def remember(self, document: Document) -> None:
        """Keep what came from the environment in `document`, which this configuration was made of."""
        self._written, self._secrets = document.written, tuple(document.secrets())

    def stored(self, *, exclude: frozenset[str] = frozenset()) -> dict[str, Json]:
        """Return the configuration as it may be stored and shown: references in place of their values."""
        values = self.model_dump(mode="json", exclude=set(exclude))
        made: dict[str, Json] = stored(values, self._written, self.censor())
        return made

    def censor(self) -> Censor:
        """Return what takes the secrets of this configuration out of a text."""
        return Censor((*self._secrets, *literals(self.model_dump(mode="python"), self._written)))


# ---- what callers use ------------------------------------------------------------------------------------


def load(path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]) -> HeadraceConfig:
    """Return the configuration in the YAML file at `path`, with ``a.b=value`` `overrides` and `env` put in.

    Raises `ConfigFileError`, a `ConfigError`, with every problem found.
    """
    made, document = load_checked(HeadraceConfig, path, overrides=overrides, env=env)
    _check_tasks(document)
    made.remember(document)
    return made


def _check_tasks(document: Document) -> None:
    """Raise `ConfigFileError` where a task is made of the environment: it is stored and shown as it is."""
    wanted = "text; a secret belongs into a source's headers, options or url"
    problems = tuple(
        document.parsed.position(path).problem(path, "${NAME} cannot stand in a task", wanted=wanted)
        for path in document.used
        if path[:2] in (("tasks", "tasks"), ("tasks", "prefix"))
    )
    if problems:
        raise ConfigFileError(problems)


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
