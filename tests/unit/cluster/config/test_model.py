from __future__ import annotations

import json
import pickle

import pytest
from pydantic import ValidationError

from actors.core.errors import ConfigError
from actors.core.task.dimensions import DimensionSettings
from cluster.checks.summary import summary_lines
from cluster.config import model as config
from cluster.config.llm import LLMSimulatorSettings
from cluster.config.model import HeadraceConfig

SMALL = """\
sources: [{name: wire, kind: simulated}]
evaluate:
  prompt: "Rate {text}"
  output:
    quality: {type: number, min: 0, max: 1}
    stars: {type: integer, min: 1, max: 5}
    note: {type: string}
dimensions: [{name: quality, field: quality}]
"""

FULL = """\
name: reviews
tasks: {kind: file, path: tasks.jsonl}
sources:
  - {name: wire, kind: simulated, items: 4, latency_s: 0.05, failure_rate: 0.0}
  - {name: notes, kind: files, path: "data/{key}/*.md", root: data}
  - {name: api, kind: http, url: "https://example.test/v1/{key}", items: "results",
     headers: {Authorization: "Bearer ${API_TOKEN}"}, timeout_s: 10, concurrency: 64, retries: 3,
     required: false, allow_private: false}
  - {name: tickets, kind: sql, url: "sqlite:///tickets.db",
     query: "select id, body as text from t where product = :key"}
  - {name: mine, kind: python, target: "my_package.sources:MySource", options: {depth: 3}}
llm:
  endpoints:
    - {name: main, base_url: "http://127.0.0.1:8001/v1", model: sim, api_key: "${LLM_API_KEY:-none}",
       max_in_flight: 1000, requests_per_minute: null, tokens_per_minute: null,
       price: {input_usd_per_mtok: 0, output_usd_per_mtok: 0}}
  clients: 2
  timeout_s: 60
  retry: {attempts: 6, base_s: 0.5, cap_s: 30, budget: 0.2}
  cache: false
evaluate:
  prompt: "Rate this item about {key}: {text}"
  output:
    quality: {type: number, min: 0, max: 1}
    risk: {type: number, min: 0, max: 1}
    note: {type: string}
  reask: 2
  max_tokens: 200
dimensions:
  - {name: quality, field: quality, weight: 2.0, synthesize: "One finding about {key}: {evidence}"}
  - {name: risk, field: risk, weight: -1.0}
limits:
  {active_tasks: 1000, accepted_tasks: 10000, task_deadline_s: 600, budget_usd: null, budget_tokens: null}
store: {kind: sqlite, path: .headrace/state.db}
output: {directory: runs, format: jsonl}
"""

SECRET = "s3cr3t-t0ken"  # noqa: S105 - a made-up one


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    # One for all tests: making and removing a directory for each takes longer than the tests do.
    return tmp_path_factory.mktemp("config") / "run.yaml"


@pytest.fixture
def load(path):
    def load(text: str, *overrides: str, **env: str) -> HeadraceConfig:
        path.write_text(text)
        return config.load(path, overrides=overrides, env=env)

    return load


@pytest.fixture
def problems(load):
    def problems(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, *overrides)
        return [line.partition(": ")[2] for line in str(caught.value).split("\n")]

    return problems


# ---- defaults --------------------------------------------------------------------------------------------


def test_the_smallest_configuration_runs_against_the_simulator(load):
    small = load(SMALL)
    assert small.llm.simulator == LLMSimulatorSettings()
    assert small.llm.endpoints == ()
    assert small.tasks is None
    assert (small.limits.active_tasks, small.limits.accepted_tasks, small.limits.task_deadline_s) == (
        1000,
        10_000,
        600,
    )
    assert (small.store.kind, small.store.keep) == ("sqlite", "auto")
    assert small.output.format == ("jsonl",)
    assert (small.cluster.pipelines, small.cluster.dashboard) == (1, True)


def test_every_key_of_the_contract_is_understood(load):
    full = load(FULL, API_TOKEN=SECRET)
    assert [source.kind for source in full.sources] == ["simulated", "files", "http", "sql", "python"]
    assert full.llm.simulator is None
    assert full.llm.endpoints[0].api_key.get_secret_value() == "none"
    assert full.sources[2].headers["Authorization"].get_secret_value() == f"Bearer {SECRET}"
    assert full.llm.retry.settings().cap_s == 30
    assert full.dimension_settings() == (
        DimensionSettings("quality", "quality", 2.0, "One finding about {key}: {evidence}"),
        DimensionSettings("risk", "risk", -1.0),
    )


def test_the_scale_of_a_dimension_is_that_of_its_field(load):
    (stars,) = load(SMALL, "dimensions=[{name: s, field: stars}]").dimension_settings()
    assert (stars.minimum, stars.maximum) == (1, 5)


def test_a_configuration_is_frozen_and_pickles(load):
    full = load(FULL, API_TOKEN=SECRET)
    with pytest.raises(ValidationError):
        full.limits.active_tasks = 3  # type: ignore[misc]  # that it is refused is the point
    assert pickle.loads(pickle.dumps(full)) == full  # noqa: S301 - our own bytes


def test_no_text_form_of_a_configuration_shows_a_secret(load):
    full = load(FULL, "store={kind: postgres, url: '${API_TOKEN}'}", API_TOKEN=SECRET)
    shown = [
        repr(full),
        str(full),
        full.model_dump_json(),
        *summary_lines(full),
        json.dumps(config.schema()),
    ]
    assert not any(SECRET in text for text in shown)


# ---- output, store ---------------------------------------------------------------------------------------


def test_results_come_in_one_format_or_in_several(load):
    assert load(SMALL, "output.format=parquet").output.format == ("parquet",)
    assert load(SMALL, "output.format=[jsonl, parquet]").output.format == ("jsonl", "parquet")


@pytest.mark.parametrize(
    "store",
    [
        "{kind: sqlite}",
        "{kind: postgres, url: 'postgresql://h/d'}",
        "{kind: redis, url: 'redis://h/0'}",
        "{kind: memory, keep: calls}",
    ],
)
def test_every_kind_of_store_is_understood(load, store):
    assert load(SMALL, f"store={store}").store.kind in store


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("name=a b", "name: wrong form (got a b, wanted text that matches ^[A-Za-z0-9][A-Za-z0-9_.-]*$)"),
        (
            "tasks={kind: file, path: tasks.txt}",
            "a file of tasks must end in .jsonl, .ndjson, .csv, .tsv, .parquet",
        ),
        (
            "tasks={kind: range, count: 0}",
            "tasks.count: wrong value (got 0, wanted greater than or equal to 1)",
        ),
        ("tasks={kind: range, count: 1, prefx: a}", "tasks.prefx: unknown key; did you mean prefix?"),
        ("tasks={kind: inline, tasks: []}", "at least 1 item"),
        (
            "tasks={kind: inline, tasks: [a, b, {key: a}]}",
            "tasks.tasks.2: the key 'a' is taken by entry 0 already",
        ),
        ("tasks={kind: inline, tasks: [5]}", "tasks.tasks.0: wrong value (got 5, wanted a mapping)"),
        ("sources.0.items=-1", "sources.0.items: wrong value (got -1, wanted greater than or equal to 0)"),
        ("sources.0.itms=1", "sources.0.itms: unknown key; did you mean items?"),
        ("llm.clients=0", "llm.clients: wrong value"),
        ("llm.timeout_s=.inf", "llm.timeout_s: wrong value (got .inf, wanted a number)"),
        ("llm.timeout_s=1e300", "llm.timeout_s: wrong value (got 1e300, wanted less than or equal to 3600)"),
        (
            "llm.retry={base_s: 5, cap_s: 2}",
            "llm.retry.cap_s: cap_s must be at least base_s, which is 5 (got 2)",
        ),
        ("llm.simulator.latency=1", "llm.simulator.latency: unknown key; did you mean latency_s?"),
        ("evaluate.output={}", "evaluate.output: "),
        (
            "evaluate.output.x={type: nubmer}",
            "evaluate.output.x.type: unknown kind (got nubmer, wanted one of ",
        ),
        ("evaluate.output.quality.mni=1", "evaluate.output.quality.mni: unknown key; did you mean min?"),
        ("evaluate.reask=-1", "evaluate.reask: wrong value"),
        ("evaluate.prompt=", "evaluate.prompt: wrong value (got null, wanted text)"),
        ("dimensions.0.weight=.nan", "dimensions.0.weight: wrong value (got .nan, wanted a number)"),
        ("limits.active_tasks=0", "limits.active_tasks: wrong value"),
        ("limits.budget_usd=0", "limits.budget_usd: wrong value (got 0, wanted greater than 0)"),
        ("limits.budget_tokens=-5", "limits.budget_tokens: wrong value"),
        (
            "limits.active_tasks=10001",
            "limits.accepted_tasks: accepted_tasks must be at least active_tasks, which is",
        ),
        ("store={kind: postgres}", "store.url: required key is missing"),
        ("store={kind: memory, path: x}", "store.path: unknown key"),
        ("output.format=xml", "output.format: wrong value (got xml, wanted 'jsonl', 'parquet' or 'csv')"),
        ("output.format=[jsonl, jsonl]", "output.format.1: the format 'jsonl' is taken by entry 0 already"),
        ("output.format=[]", "output.format: "),
        ("cluster.pipelines=0", "cluster.pipelines: wrong value"),
        ("cluster.dashbord=true", "cluster.dashbord: unknown key; did you mean dashboard?"),
    ],
)
def test_an_unusable_value_is_refused_with_its_place(problems, override, problem):
    (found,) = problems(SMALL, override)
    assert problem in found


ENDPOINTS = (
    "llm.endpoints=[{name: a, base_url: 'http://h/v1', model: m}, "
    "{name: b, base_url: 'http://h/v1', model: m, price: {input_usd_per_mtok: 1}}, "
    "{name: c, base_url: 'http://h/v1', model: m}]"
)


PRICES = "set it in US dollars per million tokens, such as"
PRICE = "{input_usd_per_mtok: 0.5, output_usd_per_mtok: 1.5}"


@pytest.mark.parametrize(
    ("prices", "problem"),
    [
        ([], (f"no price is known for a (model m), c (model m); {PRICES} "
              f"--set 'llm.endpoints.0.price={PRICE}' --set 'llm.endpoints.2.price={PRICE}'")),
        (["llm.endpoints.a.price={output_usd_per_mtok: 0}"],
         f"no price is known for c (model m); {PRICES} --set 'llm.endpoints.2.price={PRICE}'"),
        ([f"llm.endpoints.{name}.price={{input_usd_per_mtok: 0}}" for name in "abc"],
         "all prices of llm.endpoints are 0, so that no budget is spent; set a price, or budget_tokens"),
    ],
)  # fmt: skip
def test_a_budget_in_dollars_needs_the_prices_of_all_endpoints(problems, prices, problem):
    (found,) = problems(SMALL, ENDPOINTS, *prices, "limits.budget_usd=5")
    assert found.endswith(f"limits.budget_usd: {problem}"), "the value of the budget is right"


def test_the_service_tier_of_a_step_decides_the_price_of_its_endpoint(load):
    openai = "llm={endpoints: [{name: a, base_url: 'https://api.openai.com/v1', model: gpt-5-mini}]}"
    for tier, usd in (("flex", 0.25), ("priority", 0.45)):
        (endpoint,) = load(SMALL, openai, f"evaluate.params={{service_tier: {tier}}}").llm.endpoints
        assert endpoint.known_price.input_usd_per_mtok == usd, "the dearest in use"
    (endpoint,) = load(SMALL, openai, "evaluate.params={service_tier: turbo}").llm.endpoints
    assert endpoint.known_price is None


def test_a_budget_in_dollars_may_have_free_endpoints_beside_others(load):
    free = [f"llm.endpoints.{name}.price={{input_usd_per_mtok: 0}}" for name in "ac"]
    assert load(SMALL, ENDPOINTS, *free, "limits.budget_usd=5").limits.budget_usd == 5


@pytest.mark.parametrize("budget", ["limits.budget_tokens=5", "limits.budget_usd=null"])
def test_without_a_budget_in_dollars_no_endpoint_needs_a_price(load, budget):
    assert len(load(SMALL, ENDPOINTS, budget).llm.endpoints) == 3


def test_the_simulator_needs_no_price(load):
    assert load(SMALL, "limits.budget_usd=5").limits.budget_usd == 5


def test_names_of_sources_are_unique(problems):
    sources = "sources=[{name: a, kind: simulated}, {name: b, kind: simulated}, {name: a, kind: simulated}]"
    assert problems(SMALL, sources) == ["sources.2.name: the name 'a' is taken by entry 0 already (got a)"]


def test_names_and_fields_of_dimensions_are_all_checked(problems):
    dimensions = "[{name: a, field: note}, {name: a, field: nope}, {name: c, field: stars}]"
    known = "numeric fields: quality, stars"
    assert sorted(problems(SMALL, f"dimensions={dimensions}")) == [
        f"dimensions.0.field: field 'note' is not numeric; {known} (got note)",
        f"dimensions.1.field: field 'nope' is not in evaluate.output; {known} (got nope)",
        "dimensions.1.name: the name 'a' is taken by entry 0 already (got a)",
    ]


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("{type: number, min: 0}", "needs min and max"),
        ("{type: integer, max: 3}", "needs min and max"),
        ("{type: number, min: 1, max: 1}", "must have min < max"),
    ],
)
def test_a_dimension_needs_a_scale(problems, spec, problem):
    (found,) = problems(SMALL, f"evaluate.output.quality={spec}")
    assert "dimensions.0.field: " in found
    assert problem in found


@pytest.mark.parametrize("template", ["{key} {city} {{literally}}", "no places at all"])
def test_a_template_may_use_parameters_of_the_task(load, template):
    assert load(SMALL, f"evaluate.prompt={json.dumps(template)}").steps[0].prompt == template


def test_checks_between_sections_run_beside_errors_elsewhere(problems):
    found = problems(SMALL, "store.kind=nope", "dimensions.0.field=note", "limits.active_tasks=10001")
    assert len(found) == 3


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        ("tasks: {kind: range, count: 3}", True),
        ("tasks: {kind: range, count: 3}\nllm: {cache: false}", False),
        ("tasks: {kind: range, count: 3}\nllm: {timeout_s: 7}", True),
        ("tasks: {kind: range, count: 3}\nsources: [{name: wire, kind: simulated}]", False),
        ("llm: {timeout_s: 7}", False),  # tasks over HTTP may be of tenants, who share nothing
        ("llm: {cache: true}", True),
    ],
)
def test_equal_prompts_are_asked_once_in_map_form_unless_the_configuration_says_otherwise(
    load, changes, is_shared
):
    made = load(f"{changes}\nevaluate: {{prompt: 'Rate {{key}}', output: {{note: {{type: string}}}}}}\n")
    assert made.llm.cache is is_shared
    assert HeadraceConfig.model_validate(made.model_dump(mode="json")).llm.cache is is_shared


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ({"sources": {"wrie": {}}}, "no source has this name"),
        ({"journal": {"labels": {"zone": "a"}}}, "the journal stays on the driver's host"),
        ({"dispatcher": {"resources": {"CPU": 1}}}, "no custom resource"),
        ({"dispatcher": {"labels": {"zone": "a or b"}}}, "should match"),
    ],
)
def test_a_place_that_no_actor_can_have_is_a_mistake(place, problem):
    document = {
        "sources": [{"name": "wire", "kind": "simulated"}],
        "evaluate": {"prompt": "Rate {text}", "output": {"quality": {"type": "number", "min": 0, "max": 1}}},
        "store": {"kind": "sqlite", "path": "state.db"},
    }
    allowed = {"dispatcher": {"labels": {"zone": "in(a, b)"}}, "sources": {"wire": {"resources": {"vpn": 1}}}}
    HeadraceConfig.model_validate(document | {"cluster": {"place": allowed}})
    with pytest.raises(ValidationError, match=problem):
        HeadraceConfig.model_validate(document | {"cluster": {"place": place}})
