"""Derives the settings of each actor from the configuration."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import socket

from pydantic import TypeAdapter

from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.limiter.limiter import LimiterSettings
from actors.core.limits.price import Price
from actors.core.messages.values import Json
from actors.core.task.attachments import AttachmentRules
from actors.core.task.dimensions import SYNTHESIS_FIELDS
from actors.core.task.field_names import UNNAMED_STEP
from actors.journal.actor import JournalSettings
from actors.llm.dialects.registry import dialect_of
from actors.llm.endpoint import NATIVE, EndpointSettings
from actors.llm.fields import FieldSpec
from actors.llm.forms import AnswerForm
from actors.pipeline.actor import PipelineSettings
from actors.pipeline.task_rules import EVALUATE, SYNTHESIZE, StepRules, TaskRules
from cluster.config.kinds.plain import PlainStep
from cluster.config.kinds.rerank import RerankStep
from cluster.config.kinds.step import ComputedStep
from cluster.config.llm import SIMULATED
from cluster.config.model import HeadraceConfig
from cluster.config.secrets import is_secret
from cluster.config.steps import AnyStep, AskedStep
from cluster.records.job_heartbeat import owner_of_job

_DESCRIBED = "#described"  # no URL of requests has a fragment
_SYNTHESIS_TOKENS = 300  # a finding of a few sentences, and ids
_FIELD: TypeAdapter[FieldSpec] = TypeAdapter(FieldSpec)


def journal_settings(config: HeadraceConfig) -> JournalSettings:
    """Return the settings of the journal: its store, and an owner name that is unique to this process."""
    return JournalSettings(
        store=config.store.settings(),
        owner=owner_of_job(f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}", os.environ),
        keep=config.store.keep,
        lease_s=config.store.lease_s,
        give_up_s=config.store.give_up_s,
        censor=config.censor(),
    )


def answer_forms(config: HeadraceConfig) -> tuple[AnswerForm, ...]:
    """Return the forms against which clients check answers."""
    fields = {name: _FIELD.validate_python(spec) for name, spec in SYNTHESIS_FIELDS.items()}
    steps = [
        step.form(form_name(config, step))
        if isinstance(step, PlainStep)
        else AnswerForm(
            form_name(config, step),
            step.output,
            step.max_tokens,
            step.system,
            step.params,
            config.output.raw,
        )
        for step in config.asked_steps
    ]
    return (*steps, AnswerForm(SYNTHESIZE, fields, _synthesis_tokens(config)))


def _synthesis_tokens(config: HeadraceConfig) -> int:
    """Return the bound of a finding. The reasoning of some models counts against it."""
    asked = _used(config, _writers(config))
    return max((one.max_tokens for one in asked if one.max_tokens is not None), default=_SYNTHESIS_TOKENS)


def asked_forms(config: HeadraceConfig) -> tuple[AnswerForm, ...]:
    """Return the forms of `answer_forms` with the words that the endpoints of each may add to a question."""
    endpoints = [*(step.endpoints for step in config.asked_steps), ()]
    return tuple(
        max((dialect_of(one).asked(form) for one in _used(config, names)), key=_tokens, default=form)
        for form, names in zip(answer_forms(config), endpoints, strict=True)
    )


def _tokens(form: AnswerForm) -> int:
    return form.tokens


def dispatch_settings(config: HeadraceConfig) -> DispatchSettings:
    """Return the settings of the dispatcher."""
    return DispatchSettings(
        endpoints=tuple(_endpoint_rules(endpoint) for endpoint in config.llm.endpoints),
        retry=config.llm.retry.settings(),
        reasks=config.asked_steps[0].reask,  # of findings
        form_reasks={form_name(config, step): step.reask for step in config.asked_steps},
        budget_usd=config.limits.budget_usd,
        budget_tokens=config.limits.budget_tokens,
        hedge=None if config.llm.hedge is None else config.llm.hedge.settings(),
        tenant_weights=config.limits.tenant_weights,
    )


def _endpoint_rules(endpoint: EndpointSettings) -> EndpointRules:
    return EndpointRules(
        name=endpoint.name,
        limiter=LimiterSettings(
            max_in_flight=endpoint.max_in_flight,
            requests_per_minute=endpoint.requests_per_minute,
            tokens_per_minute=endpoint.tokens_per_minute,
            start=endpoint.start_in_flight,
        ),
        price=endpoint.known_price or Price(),
        address="base_url" if endpoint.proxy is None else "proxy and base_url",
    )


def pipeline_settings(
    config: HeadraceConfig,
    *,
    began_at: float,
    recovers: str | None = None,
    index: int = 0,
    pipelines: int = 1,
) -> PipelineSettings:
    """Return the settings of pipeline `index`; see `PipelineSettings` for `recovers` and `began_at`."""
    return PipelineSettings(
        rules=task_rules(config),
        active_tasks=-(-config.limits.active_tasks // pipelines),
        accepted_tasks=-(-config.limits.accepted_tasks // pipelines),
        index=index,
        count=pipelines,
        recovers=recovers,
        began_at=began_at,
    )


def task_rules(config: HeadraceConfig) -> TaskRules:
    """Return the rules by which tasks are run."""
    steps = tuple(_step_rules(config, step) for step in config.steps)
    return TaskRules(
        dimensions=config.dimension_settings(),
        steps=steps,
        synthesize_tokens=_synthesis_tokens(config),
        model=_models(config, ()),
        call_parameters={**_key_parameters(config, config.asked_steps[0]), **_endpoint_systems(config, ())},
        required_sources=frozenset(source.name for source in config.sources if source.required),
        task_deadline_s=config.task_deadline_s,
        is_map=config.is_map,
        keeps_text=config.output.text,
        share_answers=bool(config.llm.cache),
        served_at=_served_at(config, ()),
        form_tokens={form.name: form.tokens for form in asked_forms(config)},
        max_collected_bytes=config.limits.max_collected_bytes,
        finding_endpoints=_writers(config),
    )


def _step_rules(config: HeadraceConfig, step: AnyStep) -> StepRules:
    if isinstance(step, ComputedStep):
        fields = tuple(step.output)
        return StepRules(step.name, "", "", 0, fields=fields, when=step.when, computation=step)
    names = step.endpoints or _writers(config)
    ranked = step if isinstance(step, RerankStep) else None
    return StepRules(
        name=step.name,
        form=form_name(config, step),
        prompt=step.prompt,
        max_tokens=step.max_tokens,
        model=_models(config, names),
        parameters=_key_parameters(config, step),
        fields=tuple(step.output),
        when=step.when,
        endpoints=names,
        served_at=_served_at(config, names),
        attach=step.attach,
        files=_attachment_rules(config) if step.attach else AttachmentRules(),
        is_plain=isinstance(step, PlainStep),
        document=(ranked and ranked.document) or "",
        documents=(ranked and ranked.documents) or "",
    )


def _attachment_rules(config: HeadraceConfig) -> AttachmentRules:
    settings = config.llm.attachments
    return AttachmentRules(os.path.realpath(settings.directory), settings.max_text_tokens)


def _writers(config: HeadraceConfig) -> tuple[str, ...]:
    """Return the names of the endpoints that no plain step asks; none if that are all."""
    taken = {name for one in config.steps if isinstance(one, PlainStep) for name in one.endpoint}
    return tuple(one.name for one in config.llm.endpoints if one.name not in taken) if taken else ()


def form_name(config: HeadraceConfig, step: AskedStep) -> str:
    """Return the name of the form of a step's answers, which is also that of its calls."""
    return EVALUATE if len(config.steps) == 1 and step.name == UNNAMED_STEP else f"{EVALUATE}:{step.name}"


def _models(config: HeadraceConfig, names: tuple[str, ...]) -> str:
    """Return the models of the endpoints with these names, or of all endpoints if there are no names.

    The simulator counts before it has an address, so that its answers are found without starting it.
    """
    simulator = config.llm.simulator
    endpoints = config.llm.endpoints if simulator is None else (simulator.endpoint("http://localhost"),)
    return "+".join(sorted({one.model for one in endpoints if not names or one.name in names}))


def _served_at(config: HeadraceConfig, names: tuple[str, ...]) -> str:
    """Return the addresses of these endpoints, of all if there are no names.

    Local servers often give different models one name. The simulator has a new address in each run. An
    endpoint whose requests state the fields in words is asked something else than without them.
    """
    used = _used(config, names)
    return " ".join(
        sorted({_asked_at(one) + route_of(config, one) for one in used if one.model != SIMULATED})
    )


def route_of(config: HeadraceConfig, endpoint: EndpointSettings) -> str:
    """Return a digest of the headers and the query, by which a gateway may choose the model; "" without any.

    A secret has none: a key that was replaced would have all questions asked again.
    """
    index = config.llm.endpoints.index(endpoint)
    given = {
        f"{kind} {name.lower()}": value.get_secret_value()
        for kind, values in (("headers", endpoint.headers), ("query", endpoint.query))
        for name, value in values.items()
        if not is_secret(("query", name))
        and not config.has_reference(("llm", "endpoints", index, kind, name))
    }
    text = json.dumps(given, sort_keys=True)
    return f" as {hashlib.sha256(text.encode()).hexdigest()}" if given else ""


def _asked_at(endpoint: EndpointSettings) -> str:
    dialect = dialect_of(endpoint)
    asked_at = dialect.url(stream=False) + (_DESCRIBED if dialect.describes_output else "")
    return asked_at if endpoint.structured == NATIVE else f"{asked_at} by {endpoint.structured}"


def _used(config: HeadraceConfig, names: tuple[str, ...]) -> list[EndpointSettings]:
    return [one for one in config.llm.endpoints if not names or one.name in names]


def _endpoint_systems(config: HeadraceConfig, names: tuple[str, ...]) -> dict[str, Json]:
    systems = {one.name: one.system for one in _used(config, names) if one.system is not None}
    return {"endpoint_system": systems} if systems else {}


def _key_parameters(config: HeadraceConfig, step: AskedStep) -> dict[str, Json]:
    """Return what determines an answer besides the prompt and the model, as part of the keys of the calls.

    A configuration that earlier versions accepted has the keys that they computed.
    """
    output = {name: spec.model_dump(mode="json") for name, spec in step.output.items()}
    options = {"system": step.system, "params": step.parameters, "endpoints": sorted(step.endpoints)}
    given: dict[str, Json] = {name: value for name, value in options.items() if value}
    if step.system is None:
        given |= _endpoint_systems(config, step.endpoints)
    if of_endpoints := {one.name: one.params for one in _used(config, step.endpoints) if one.params}:
        given["endpoint_params"] = of_endpoints
    if given or config.is_map or step.name != UNNAMED_STEP:
        # A model writes the fields in the order of the schema. Keys leave out the order of mappings.
        given["order"] = json.dumps(output)
    return {"output": output, "max_tokens": step.max_tokens, **given}
