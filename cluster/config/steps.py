"""The sections `evaluate` and `dimensions`: the steps asked about every item, and what a report scores.

Rule: a key that the first edition did not have is stored only if it is set, so that a run begun by the first
edition can be resumed.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from operator import not_
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, SerializeAsAny, Tag, field_validator
from pydantic_core import InitErrorDetails

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from actors.core.task.conditions import compile_condition
from actors.core.task.dimensions import DimensionSettings
from actors.core.task.field_names import UNNAMED_STEP, Fields, dotted, find_field, suggestion
from actors.core.task.templates import compile_template
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.fields import BooleanField, ColumnSpec, IntegerField, NumberField, StringField
from actors.llm.requests.head import plain_url
from cluster.config.answer_fields import Output
from cluster.config.base import FieldName, Name, Prompt, Section, as_tuple, problem_at, raise_all, repeated
from cluster.config.kinds.embedding import EMBEDDING, EmbeddingStep
from cluster.config.kinds.plain import PlainStep
from cluster.config.kinds.rerank import RERANK, RerankStep
from cluster.config.kinds.step import ComputedStep, When

_MOST_SHOWN = 5  # choices in a message


def _names(value: Any) -> Any:
    return () if value is None else as_tuple(value)


class StepSettings(Section):
    """A question asked about every item, and the fields of the answer."""

    name: Annotated[
        FieldName,
        Field(
            exclude_if=lambda name: name == UNNAMED_STEP,
            description="names the step; required and unique in a list; later steps use `{name.field}`",
        ),
    ] = UNNAMED_STEP
    prompt: Annotated[
        Prompt, Field(description="template: {key} {text} {source} {id} {fields}, and the task's params")
    ]
    system: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=100_000,
            exclude_if=not_,
            description="text of the system message; braces are literal",
        ),
    ] = None
    output: Annotated[
        Output,
        Field(
            description="the answer's fields by name: definitions, or columns such as `1..5 = how good`; or "
            "module:Model; or {json_schema: ...}"
        ),
    ]
    when: When = None
    endpoint: Annotated[
        tuple[Name, ...],
        BeforeValidator(_names, json_schema_input_type=Name | tuple[Name, ...] | None),
        Field(
            max_length=100,
            exclude_if=not_,
            description="the endpoint that is asked, or a list; absent: all",
        ),
    ] = ()
    attach: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...],
        BeforeValidator(_names, json_schema_input_type=str | tuple[str, ...] | None),
        Field(
            max_length=20,
            exclude_if=not_,
            description="columns or fields with paths or URLs of images, PDF or text files to send",
        ),
    ] = ()
    params: Annotated[
        dict[str, Json],
        Field(max_length=100, exclude_if=not_, description="members that are added to the request's body"),
    ] = Field(default_factory=dict)
    reask: Annotated[int, Field(ge=0, le=10, description="times to ask again if an answer does not fit")] = 2
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000, description="longest answer, tokens")] = 200

    @field_validator("endpoint")
    @classmethod
    def _endpoints_differ(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        raise_all(repeated(value, "the endpoint"))
        return value

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The names of the endpoints that are asked; empty: all."""
        return self.endpoint

    @property
    def parameters(self) -> dict[str, Json]:
        """The members that are added to the request's body."""
        return self.params

    @property
    def templates(self) -> dict[str, str]:
        """The template of its prompt, by key."""
        return {"prompt": self.prompt}


AskedStep = StepSettings | EmbeddingStep | RerankStep
AnyStep = AskedStep | ComputedStep
_StepT = TypeVar("_StepT", bound=AnyStep)


def steps_checked(
    value: AskedStep | tuple[AskedStep, ...], endpoints: Sequence[EndpointSettings], *, is_map: bool
) -> AskedStep | tuple[AskedStep, ...]:
    """Return the steps, and a list of one as that one. Raises with the place of every problem between steps.

    `endpoints` are all endpoints; empty if they are not known.
    """
    if not isinstance(value, tuple):
        raise_all(_problems(value, {}, endpoints, (), is_map=is_map))
        return value
    problems = [
        problem_at("required key is missing in a list of steps", index, "name")
        for index, step in enumerate(value)
        if "name" not in step.model_fields_set and len(value) > 1
    ] or repeated((step.name for step in value), "the name", "name")
    if all(isinstance(step, ComputedStep) for step in value):
        problems.append(problem_at("no step asks a model: add one with a prompt"))
    problems += _taken_endpoints(value, [endpoint.name for endpoint in endpoints])
    earlier: dict[str, tuple[str, ...]] = {}
    for index, step in enumerate(value):
        problems += _problems(
            step, earlier, endpoints, tuple(each.name for each in value), index, is_map=is_map
        )
        earlier[step.name] = tuple(step.output)
    raise_all(problems)
    return value[0] if len(value) == 1 else value


def bounded(value: Evaluate, endpoints: Sequence[EndpointSettings]) -> Evaluate:
    """Return the steps with the bound that their endpoints ask for, where a step sets none."""
    if isinstance(value, tuple):
        return tuple(_bounded(step, endpoints) for step in value)
    return _bounded(value, endpoints)


def _bounded(step: _StepT, endpoints: Sequence[EndpointSettings]) -> _StepT:
    if not isinstance(step, StepSettings) or "max_tokens" in step.model_fields_set:
        return step
    used = (each for each in endpoints if not step.endpoint or each.name in step.endpoint)
    most = max((each.max_tokens for each in used if each.max_tokens is not None), default=step.max_tokens)
    return step if most == step.max_tokens else step.model_copy(update={"max_tokens": most})


def _taken_endpoints(steps: Sequence[AnyStep], known: Sequence[str]) -> Iterator[InitErrorDetails]:
    """Yield a problem for each step that asks for fields and has no endpoint beside those of plain steps."""
    taken = {name: step.does for step in steps if isinstance(step, PlainStep) for name in step.endpoint}
    for index, step in enumerate(steps):
        if isinstance(step, StepSettings) and taken:
            for name in taken.keys() & {*(step.endpoint or (known if taken.keys() >= {*known} else ()))}:
                text = f"endpoint {name} {taken[name]} for another step; name another in endpoint"
                yield problem_at(text, index, "endpoint")


def _problems(
    step: AnyStep,
    earlier: Fields,
    endpoints: Sequence[EndpointSettings],
    steps: Sequence[str],
    *at: int,
    is_map: bool,
) -> list[InitErrorDetails]:
    """Return the problems of one step, which stands at `at`, after the steps with the fields `earlier`."""
    found: list[tuple[str, tuple[str | int, ...]]] = []
    if is_map:
        reserved = "names that begin with _ are reserved for columns that Headrace adds"
        found += [(reserved, ("output", name)) for name in step.output if name.startswith("_")]
    if problem := _condition_problem(step.when, earlier):
        found.append((problem, ("when",)))
    if not isinstance(step, ComputedStep):
        found += _call_problems(step, earlier, endpoints, steps)
    return [problem_at(problem, *at, *within) for problem, within in found]


def _call_problems(
    step: AskedStep, earlier: Fields, endpoints: Sequence[EndpointSettings], steps: Sequence[str]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield the problems of what a step asks of a model, and the keys in which they are."""
    known = [endpoint.name for endpoint in endpoints]
    for position, name in enumerate(step.endpoint if endpoints else ()):
        if name not in known:
            yield f"unknown endpoint {name!r}; known: {', '.join(known)}", ("endpoint", position)
    used = [each for each in endpoints if not step.endpoint or each.name in step.endpoint]
    if problem := next(filter(None, (parameter_problem(each, step.params) for each in used)), None):
        yield problem, ("params",)
    if problem := next(filter(None, (_plain_problem(step, each) for each in used)), None):
        yield problem, ("endpoint",)
    for key, text in step.templates.items():
        yield from ((problem, (key,)) for problem in _prompt_problems(text, earlier, steps))


def parameter_problem(endpoint: EndpointSettings, params: Mapping[str, Json]) -> str | None:
    """Return why `params` cannot be sent to `endpoint`, with the remedy; None if they can."""
    try:
        return dialect_of(endpoint).problem(params)
    except ConfigError:  # the section `llm` reports a dialect that is not known
        return None


def _plain_problem(step: AskedStep, endpoint: EndpointSettings) -> str | None:
    """Return why `endpoint` cannot answer a plain step, with the remedy; None if it can."""
    if not isinstance(step, PlainStep):
        return None
    try:
        can = plain_url(dialect_of(endpoint), step.form(step.name)) is not None
    except ConfigError:  # see `parameter_problem`
        return None
    name, dialect, model = endpoint.name, endpoint.dialect, endpoint.model
    what = "vectors" if isinstance(step, EmbeddingStep) else "ranking"
    problem = f"endpoint {name}: the dialect {dialect} asks {model} for no {what}; name another endpoint"
    return None if can else problem


def _condition_problem(when: str | None, earlier: Fields) -> str | None:
    if when is None:
        return None
    if not earlier:
        return "no step comes before this one, so that there is no field to compare; remove when"
    try:
        for name in compile_condition(when).names():
            find_field(name, earlier)
    except ValueError as error:
        return str(error)
    return None


def _prompt_problems(prompt: str, earlier: Fields, steps: Sequence[str]) -> Iterator[str]:
    """Yield the problems of placeholders such as ``{step.field}``. The others may be columns of the input."""
    known = dotted(earlier)
    for name in compile_template(prompt).names:
        step, dot, _ = name.partition(".")
        if dot and step in steps and name not in known:
            late = step not in earlier
            hint = ", which is not asked before this one" if late else suggestion(name, known)
            yield f"{{{name}}} names no field of {f'step {step}' if late else 'an earlier step'}{hint}"


_MANY = Field(min_length=1, max_length=100)


def _form(value: Any) -> str:
    return "[steps]" if isinstance(value, list | tuple) else "[step]"


def _entry(kinds: Mapping[str, type[ComputedStep]]) -> Any:
    """Return the type of one step: of a kind that is named, or else one that asks for fields."""
    named: dict[str, Any] = {EMBEDDING: EmbeddingStep, RERANK: RerankStep, **kinds}
    tagged: list[Any] = [Annotated[kind, Tag(f"[{name}]")] for name, kind in named.items()]
    entry: Any = functools.reduce(operator.or_, tagged, Annotated[StepSettings, Tag("[asked]")])

    def tag(value: Any) -> str:
        kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
        return f"[{kind}]" if isinstance(kind, str) and kind in named else "[asked]"

    return Annotated[entry, Discriminator(tag)]


if TYPE_CHECKING:
    _Asked = AskedStep
else:
    _Asked = _entry({})

Evaluate = Annotated[
    Annotated[_Asked, Tag("[step]")]
    # The settings of a plug-in, which are of no class of the union, are written with all their keys.
    | Annotated[tuple[SerializeAsAny[_Asked], ...], Field(min_length=1, max_length=100), Tag("[steps]")],
    Discriminator(_form),
]


def with_computed(kinds: Mapping[str, type[ComputedStep]]) -> Any:
    """Return the type of the section `evaluate` with the kinds of computed steps that plug-ins add."""
    entry: Any = _entry(kinds)
    steps: Any = tuple[entry, ...]
    return Annotated[
        Annotated[_entry({}), Tag("[step]")] | Annotated[steps, _MANY, Tag("[steps]")],
        Discriminator(_form),
    ]


def steps_of(evaluate: Evaluate) -> tuple[AnyStep, ...]:
    """Return the steps of the section `evaluate`, which is one mapping or a list."""
    return evaluate if isinstance(evaluate, tuple) else (evaluate,)


class StepFields(Protocol):
    """What a dimension has to know of a step."""

    @property
    def name(self) -> str:
        """Return the name of the step."""

    @property
    def output(self) -> Mapping[str, ColumnSpec]:
        """Return the types of its fields."""


class Dimension(Section):
    """An aspect of the items that a report scores."""

    name: Annotated[Name, Field(description="unique among the dimensions")]
    field: Annotated[
        str,
        Field(
            description="a field of evaluate.output: numeric with min and max, or with `values`; "
            "step.field if several steps have it"
        ),
    ]
    values: Annotated[
        dict[str, Annotated[float, Field(ge=-1e6, le=1e6)]] | None,
        Field(
            exclude_if=not_,
            min_length=2,
            max_length=500,
            description="the number of each choice of a string field, or of true and false",
        ),
    ] = None
    weight: Annotated[
        float,
        Field(ge=-1e6, le=1e6, description="weight in the overall score; below 0: a lower value is better"),
    ] = 1.0
    synthesize: Annotated[
        Prompt | None,
        Field(
            description="template of the finding's prompt: {key} {evidence} {dimension} {score} {low} {high} "
            "{n}, and the task's params; none: no finding is written"
        ),
    ] = None

    def settings(self, steps: Sequence[StepFields]) -> DimensionSettings:
        """Return the settings of the aggregation. Raises ValueError if the field cannot be scored."""
        step, field, spec = self._found(steps)
        match spec:
            case _ if self.values is not None:
                low, high = _scale_of(field, spec, self.values)
            case NumberField(min=float(low), max=float(high)) | IntegerField(min=int(low), max=int(high)):
                pass
            case NumberField() | IntegerField():
                raise ValueError(f"field {self.field!r} needs min and max in evaluate.output to be scored")
            case _:
                raise ValueError(f"field {self.field!r} is not numeric; {_numeric(steps)}{_values_for(spec)}")
        return DimensionSettings(
            self.name, field, self.weight, self.synthesize, low, high, step.name, self.values or {}
        )

    def _found(self, steps: Sequence[StepFields]) -> tuple[StepFields, str, ColumnSpec]:
        """Return the step, the name in its output and the type of the field. Raises ValueError."""
        named, dot, field = self.field.partition(".")
        found = [step for step in steps if field in step.output and step.name == named] if dot else []
        if not found:
            field = self.field
            found = [step for step in steps if field in step.output]
        if not found:
            raise ValueError(f"field {self.field!r} is not in evaluate.output; {_numeric(steps)}")
        if len(found) > 1:
            wanted = " or ".join(f"{step.name}.{field}" for step in found)
            raise ValueError(f"field {self.field!r} is in several steps; write {wanted}")
        return found[0], field, found[0].output[field]


def _numeric(steps: Sequence[StepFields]) -> str:
    names = [
        name if len(steps) == 1 else f"{step.name}.{name}"
        for step in steps
        for name, spec in step.output.items()
        if isinstance(spec, NumberField | IntegerField)
    ]
    return f"numeric fields: {', '.join(names)}" if names else "it has no numeric field"


def _values_for(spec: ColumnSpec) -> str:
    match spec:
        case StringField(choices=tuple(choices)):
            names = list(choices[:_MOST_SHOWN])
        case BooleanField():
            names = ["true", "false"]
        case _:
            return ""
    numbers = ", ".join(f"{name}: {len(names) - 1 - place}" for place, name in enumerate(names))
    return f"; or give a number for each choice: values: {{{numbers}}}"


def _scale_of(field: str, spec: ColumnSpec, values: Mapping[str, float]) -> tuple[float, float]:
    """Return the least and the largest of `values`. Raises ValueError unless they name every choice."""
    match spec:
        case StringField(choices=tuple(choices)):
            wanted = choices
        case BooleanField():
            wanted = ("true", "false")
        case _:
            raise ValueError(f"values need a field with choices or a boolean, and {field!r} is neither")
    missing = [choice for choice in wanted if choice not in values]
    unknown = [choice for choice in values if choice not in wanted]
    if missing or unknown:
        parts = (f"lacks {', '.join(missing)}", f"does not know {', '.join(unknown)}")
        said = " and ".join(part for part, names in zip(parts, (missing, unknown), strict=True) if names)
        raise ValueError(f"values must name each choice of {field!r} once; it {said}")
    return min(values.values()), max(values.values())
