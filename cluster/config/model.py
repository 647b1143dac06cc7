"""The keys of the configuration, with their units, defaults and bounds, and the checks between keys.

Rule 1: the names of keys are a contract with users. Times end in ``_s``, amounts of money in ``_usd``.
Rule 2: a configuration is checked once, in full, and frozen. Actors receive parts of it by value.
Rule 3: every bound has a finite default, and every number has a maximum.
Rule 4: only `load` reads the environment, and receives it as an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PrivateAttr,
    SerializeAsAny,
    ValidationInfo,
    create_model,
    field_validator,
)

from actors.core.censor import Censor
from actors.core.messages.values import Json
from actors.core.task.dimensions import DimensionSettings
from actors.runtime.plugins import PluginGroup
from actors.runtime.telemetry.settings import TelemetrySection
from actors.sources.base import SourceSettings
from actors.sources.files.source import FilesSettings
from actors.sources.http import HttpSettings
from actors.sources.python import PythonSettings
from actors.sources.simulated import SimulatedSettings
from actors.sources.sql.settings import SqlSettings
from cluster.config.base import Name, Section, problem_at, raise_all, repeated
from cluster.config.check import load_checked
from cluster.config.file import Document
from cluster.config.kinds.plugins import check_sinks, computed_steps, with_kinds
from cluster.config.kinds.step import ComputedStep
from cluster.config.kinds.store import SqliteSection, StoreKeys, Stores, StoreSection
from cluster.config.llm import LLMSettings, unlimited
from cluster.config.output import OutputSettings, Table
from cluster.config.paths import KeyPath
from cluster.config.problem import ConfigFileError
from cluster.config.secrets import literals, stored
from cluster.config.steps import (
    AnyStep,
    AskedStep,
    Dimension,
    Evaluate,
    bounded,
    steps_checked,
    steps_of,
    with_computed,
)
from cluster.config.tasks import Tasks

_Sources = SimulatedSettings | FilesSettings | HttpSettings | SqlSettings | PythonSettings
# A plug-in's settings, which are of no class of the union, are written with all their keys.
AnySource = SerializeAsAny[Annotated[_Sources, Field(discriminator="kind")]]


_BATCH_DEADLINE_S = 86_400.0


class LimitSettings(Section):
    """The resources that a run may use."""

    active_tasks: Annotated[int, Field(ge=1, le=1_000_000, description="tasks in progress at once")] = 1000
    accepted_tasks: Annotated[
        int,
        Field(ge=1, le=10_000_000, validate_default=True, description="tasks accepted and not yet ended"),
    ] = 10_000
    task_deadline_s: Annotated[
        float,
        Field(
            gt=0,
            le=604_800,
            description="from acceptance, or a resume, to the end of a task, seconds; "
            "absent: a day for a batch",
        ),
    ] = 600.0
    max_task_bytes: Annotated[
        int,
        Field(ge=1024, le=2**24, description="size of one task in a file or list: its params as JSON"),
    ] = 2**20
    max_collected_bytes: Annotated[
        int,
        # The store takes values of 64 MiB.
        Field(ge=1024, le=50_000_000, description="size of a task's items from all sources, as JSON"),
    ] = 2**25
    budget_usd: Annotated[float | None, Field(gt=0, le=1e9, description="money a run may spend")] = None
    budget_tokens: Annotated[int | None, Field(gt=0, le=10**15, description="tokens a run may spend")] = None
    tenant_weights: Annotated[
        dict[Name, Annotated[float, Field(gt=0, le=1_000_000)]],
        Field(max_length=10_000, description="share of each tenant relative to the others"),
    ] = Field(default_factory=dict)

    @field_validator("accepted_tasks")
    @classmethod
    def _holds_the_active_ones(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("active_tasks", 0):
            raise ValueError(
                f"accepted_tasks must be at least active_tasks, which is {info.data['active_tasks']}"
            )
        return value


# As Ray writes them: a value, `!value`, `in(a, b)` or `!in(a, b)`.
_LabelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=253)]
_LabelValue = Annotated[
    str, Field(pattern=r"^!?([A-Za-z0-9][\w.-]*|in\([A-Za-z0-9][\w., -]*\))$", max_length=1000)
]
_OF_EVERY_NODE = frozenset({"CPU", "GPU", "memory", "object_store_memory"})


class NodeChoice(Section):
    """The nodes on which an actor may run."""

    labels: Annotated[
        dict[_LabelName, _LabelValue],
        Field(max_length=100, description="labels of the node: a value, `!value`, `in(a, b)`, `!in(a, b)`"),
    ] = Field(default_factory=dict)
    resources: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=100)], Annotated[float, Field(gt=0, le=1e6)]],
        Field(max_length=100, description="custom resources of the node, and how much the actor takes"),
    ] = Field(default_factory=dict)

    @field_validator("resources")
    @classmethod
    def _are_custom(cls, value: dict[str, float]) -> dict[str, float]:
        # Ray refuses them here, and an actor that holds a core would wait for one.
        raise_all(
            [problem_at("this is no custom resource", name) for name in value if name in _OF_EVERY_NODE]
        )
        return value


class PlaceSettings(Section):
    """On which nodes of a cluster the single actors run."""

    dispatcher: Annotated[NodeChoice, Field(description="the nodes of the dispatcher")] = NodeChoice()
    journal: Annotated[NodeChoice, Field(description="the nodes of the journal")] = NodeChoice()
    sources: Annotated[
        dict[Name, NodeChoice], Field(max_length=1000, description="the nodes of each source, by its name")
    ] = Field(default_factory=dict)


class ClusterSettings(Section):
    """How the actors are distributed."""

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
    place: Annotated[PlaceSettings, Field(description="on which nodes of a cluster the actors run")] = (
        PlaceSettings()
    )


class HttpApiSettings(Section):
    """How the HTTP API is served."""

    haproxy: Annotated[
        bool, Field(description="put HAProxy before the replicas in place of Ray Serve's own proxy")
    ] = False


class HeadraceConfig(Section):
    """The configuration of a run."""

    name: Annotated[Name, Field(description="names the runs")] = "headrace"
    tasks: Annotated[Tasks | None, Field(description="the tasks; none: tasks come over HTTP")] = None
    sources: Annotated[
        tuple[AnySource, ...],
        Field(max_length=1000, description="where items come from; none: each task is its own item"),
    ] = ()
    llm: Annotated[LLMSettings, Field(validate_default=True, description="the models that answer calls")] = (
        LLMSettings()
    )
    evaluate: Annotated[Evaluate, Field(description="the question about each item, or a list of steps")]
    dimensions: Annotated[
        tuple[Dimension, ...], Field(max_length=1000, description="the aspects that a report scores")
    ] = ()
    limits: Annotated[LimitSettings, Field(description="the resources that a run may use")] = LimitSettings()
    store: Annotated[StoreSection, Field(description="where state is kept")] = SqliteSection(kind="sqlite")
    output: Annotated[OutputSettings, Field(description="where results go")] = OutputSettings()
    cluster: Annotated[ClusterSettings, Field(description="how the actors are distributed")] = (
        ClusterSettings()
    )
    http: Annotated[HttpApiSettings, Field(description="how the HTTP API is served")] = HttpApiSettings()

    telemetry: Annotated[TelemetrySection, Field(description="what is reported to other systems")] = (
        TelemetrySection()
    )

    _written: Mapping[KeyPath, str] = PrivateAttr(default_factory=dict)
    _secrets: tuple[tuple[str, str], ...] = PrivateAttr(default=())

    @field_validator("sources")
    @classmethod
    def _source_names_differ(cls, value: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
        raise_all(repeated((source.name for source in value), "the name", "name"))
        return value

    @field_validator("llm")
    @classmethod
    def _cache_follows_the_form(cls, value: LLMSettings, info: ValidationInfo) -> LLMSettings:
        """Share answers in map form, as `map` does. Tasks over HTTP may be of tenants, who share nothing."""
        if value.cache is not None:
            return value
        is_shared = info.data.get("tasks") is not None and not info.data.get("sources", True)
        return value.model_copy(update={"cache": is_shared})

    @field_validator("evaluate")
    @classmethod
    def _steps_fit_together(cls, value: Evaluate, info: ValidationInfo) -> Evaluate:
        llm = info.data.get("llm")
        for endpoint in () if llm is None else llm.endpoints:
            steps = (step for step in steps_of(value) if not isinstance(step, ComputedStep))
            asking = (step for step in steps if not step.endpoints or endpoint.name in step.endpoints)
            endpoint.look_up_price(*(step.params for step in asking))
        known = [] if llm is None else llm.served("http://localhost")
        value = bounded(value, known)
        return steps_checked(value, known, is_map=not info.data.get("sources", True))

    @field_validator("dimensions")
    @classmethod
    def _dimensions_have_numeric_fields(
        cls, value: tuple[Dimension, ...], info: ValidationInfo
    ) -> tuple[Dimension, ...]:
        problems = repeated((dimension.name for dimension in value), "the name", "name")
        for index, dimension in enumerate(value if "evaluate" in info.data else ()):
            try:
                dimension.settings(steps_of(info.data["evaluate"]))
            except ValueError as error:
                problems.append(problem_at(str(error), index, "field"))
        raise_all(problems)
        return value

    @field_validator("limits")
    @classmethod
    def _budget_has_prices(cls, value: LimitSettings, info: ValidationInfo) -> LimitSettings:
        endpoints = info.data["llm"].endpoints if "llm" in info.data else ()
        problem = unlimited(endpoints) if value.budget_usd is not None else None
        raise_all([problem_at(problem, "budget_usd", shows_value=False)] if problem else [])
        return value

    @field_validator("cluster")
    @classmethod
    def _places_are_of_actors(cls, value: ClusterSettings, info: ValidationInfo) -> ClusterSettings:
        known = {source.name for source in info.data.get("sources", ())}
        unknown = value.place.sources.keys() - known if "sources" in info.data else ()
        problems = [
            problem_at("no source has this name", "place", "sources", name, shows_value=False)
            for name in sorted(unknown)
        ]
        if value.place.journal != NodeChoice() and isinstance(info.data.get("store"), SqliteSection):
            text = "the journal stays on the driver's host, where the file of a store of kind sqlite is"
            problems.append(problem_at(text, "place", "journal", shows_value=False))
        raise_all(problems)
        return value

    def dimension_settings(self) -> tuple[DimensionSettings, ...]:
        """Return the settings of the aggregation, with the scales of the fields."""
        return tuple(dimension.settings(self.steps) for dimension in self.dimensions)

    @property
    def steps(self) -> tuple[AnyStep, ...]:
        """The steps about every item, in order."""
        return steps_of(self.evaluate)

    @property
    def asked_steps(self) -> tuple[AskedStep, ...]:
        """The steps that ask a model, in order. There is at least one."""
        return tuple(step for step in self.steps if not isinstance(step, ComputedStep))

    @property
    def is_map(self) -> bool:
        """Whether each task is its own single item, because no sources are configured."""
        return not self.sources

    @property
    def task_deadline_s(self) -> float:
        """The time of a task. Rows of a batch outlast an hour without their endpoint, and a slow model."""
        limits = self.limits
        return limits.task_deadline_s if "task_deadline_s" in limits.model_fields_set else _BATCH_DEADLINE_S

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables that results are written to."""
        return self.output.tables or (("items",) if self.is_map else ("reports",))

    def remember(self, document: Document) -> None:
        """Keep the references and the secrets of `document`, from which this configuration was made."""
        self._written, self._secrets = document.written, tuple(document.secrets())

    def has_reference(self, path: KeyPath) -> bool:
        """Return whether the value at `path` comes from the environment."""
        return path in self._written

    def stored(self, *, exclude: frozenset[str] = frozenset()) -> dict[str, Json]:
        """Return the configuration as it may be stored and shown: with references, without secrets."""
        values = self.model_dump(mode="json", exclude=set(exclude))
        made: dict[str, Json] = stored(values, self._written, self.censor())
        return made

    def censor(self) -> Censor:
        """Return a censor that removes the secrets of this configuration from a text."""
        return Censor((*self._secrets, *literals(self.model_dump(mode="python"), self._written)))


# ---- loading ---------------------------------------------------------------------------------------------


def load(path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]) -> HeadraceConfig:
    """Return the configuration in the YAML file at `path`. `file.read` describes `overrides` and `env`.

    Raises `ConfigFileError`, a `ConfigError`, with every problem found.
    """
    made, document = load_checked(HeadraceConfig, path, overrides=overrides, env=env, extended=_with_plugins)
    if type(made) is not HeadraceConfig:  # other processes can unpickle only a class of a module
        values = {name: getattr(made, name) for name in HeadraceConfig.model_fields}
        made = HeadraceConfig.model_construct(made.model_fields_set, **values)
    _check_tasks(document)
    made.remember(document)
    return made


def _with_plugins(document: Document) -> type[HeadraceConfig]:
    """Return the model with the kinds of sources and stores that plug-ins add and `document` uses."""
    check_sinks(document)
    sources = document.values.get("sources")
    places = [("sources", index) for index in range(len(sources) if isinstance(sources, list) else 0)]
    source = with_kinds(_Sources, PluginGroup.SOURCES, SourceSettings, places, document)
    store = with_kinds(Stores, PluginGroup.STORES, StoreKeys, [("store",)], document)
    added: dict[str, Any] = {}
    if computed := computed_steps(document):
        about = HeadraceConfig.model_fields["evaluate"].description  # the rest is of the old type
        added["evaluate"] = (with_computed(computed), Field(description=about))
    if source is not None:
        entry: Any = Annotated[source, Field(discriminator="kind")]
        added["sources"] = (tuple[entry, ...], HeadraceConfig.model_fields["sources"])
    if store is not None:
        section: Any = Annotated[store, Field(discriminator="kind")]
        added["store"] = (section, HeadraceConfig.model_fields["store"])
    return create_model("HeadraceConfig", __base__=HeadraceConfig, **added) if added else HeadraceConfig


def _check_tasks(document: Document) -> None:
    """Raise `ConfigFileError` if a task has a value from the environment: tasks are stored as they are."""
    wanted = "text; a secret belongs in a source's headers, options or url"
    problems = tuple(
        document.parsed.position(path).problem(path, "${NAME} cannot stand in a task", wanted=wanted)
        for path in document.used
        if path[:2] in (("tasks", "tasks"), ("tasks", "prefix"))
    )
    if problems:
        raise ConfigFileError(problems)


def schema() -> dict[str, Json]:
    """Return the JSON Schema of the configuration, for editors. It allows ``${NAME}`` for any scalar."""
    described: dict[str, Json] = _with_references(HeadraceConfig.model_json_schema())
    described["$defs"]["EndpointSettings"]["required"].remove("base_url")  # a preset sets it
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}


def _with_references(node: Json) -> Json:
    if isinstance(node, list):
        return [_with_references(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") not in ("integer", "number", "boolean"):
        return {key: _with_references(value) for key, value in node.items()}
    about = {key: node[key] for key in ("description", "default", "title") if key in node}
    bare = {key: value for key, value in node.items() if key not in about}
    return {**about, "anyOf": [bare, {"type": "string", "pattern": r"\$\{"}]}
