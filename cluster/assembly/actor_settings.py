"""Derives the settings of each actor from the configuration."""

from __future__ import annotations

import os
import secrets
import socket

from pydantic import TypeAdapter

from actors.core.dispatch.endpoint import Price
from actors.core.dispatch.settings import DispatchSettings, EndpointRules
from actors.core.limiter.limiter import LimiterSettings
from actors.core.task.dimensions import SYNTHESIS_FIELDS
from actors.journal.actor import JournalSettings
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm, FieldSpec
from actors.pipeline.actor import PipelineSettings
from actors.pipeline.task_run import EVALUATE, SYNTHESIZE, TaskRules
from cluster.config.model import HeadraceConfig
from cluster.records.job_heartbeat import owner_of_job
from cluster.records.store_choice import store_settings

_SYNTHESIS_TOKENS = 300  # a finding of a few sentences, and ids
_FIELD: TypeAdapter[FieldSpec] = TypeAdapter(FieldSpec)


def journal_settings(config: HeadraceConfig) -> JournalSettings:
    """Return the settings of the journal: its store, and an owner name that is unique to this process."""
    return JournalSettings(
        store=store_settings(config.store),
        owner=owner_of_job(f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}", os.environ),
        keep=config.store.keep,
        lease_s=config.store.lease_s,
        give_up_s=config.store.give_up_s,
        censor=config.censor(),
    )


def answer_forms(config: HeadraceConfig) -> tuple[AnswerForm, ...]:
    """Return the forms against which clients check answers."""
    fields = {name: _FIELD.validate_python(spec) for name, spec in SYNTHESIS_FIELDS.items()}
    return (
        AnswerForm(EVALUATE, config.steps[0].output, config.steps[0].max_tokens),
        AnswerForm(SYNTHESIZE, fields, _SYNTHESIS_TOKENS),
    )


def dispatch_settings(config: HeadraceConfig) -> DispatchSettings:
    """Return the settings of the dispatcher."""
    return DispatchSettings(
        endpoints=tuple(_endpoint_rules(endpoint) for endpoint in config.llm.endpoints),
        retry=config.llm.retry.settings(),
        reasks=config.steps[0].reask,
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
        price=Price(endpoint.price.input_usd_per_mtok, endpoint.price.output_usd_per_mtok),
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
        rules=_task_rules(config),
        active_tasks=-(-config.limits.active_tasks // pipelines),
        accepted_tasks=-(-config.limits.accepted_tasks // pipelines),
        index=index,
        count=pipelines,
        recovers=recovers,
        began_at=began_at,
    )


def _task_rules(config: HeadraceConfig) -> TaskRules:
    step = config.steps[0]
    return TaskRules(
        dimensions=config.dimension_settings(),
        evaluate_prompt=step.prompt,
        evaluate_tokens=step.max_tokens,
        synthesize_tokens=_SYNTHESIS_TOKENS,
        model="+".join(sorted({endpoint.model for endpoint in config.llm.endpoints})),
        call_parameters={
            "output": {name: spec.model_dump(mode="json") for name, spec in step.output.items()},
            "max_tokens": step.max_tokens,
        },
        required_sources=frozenset(source.name for source in config.sources if source.required),
        task_deadline_s=config.limits.task_deadline_s,
        share_answers=config.llm.cache,
        form_tokens={form.name: form.tokens for form in answer_forms(config)},
        max_collected_bytes=config.limits.max_collected_bytes,
    )
