from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from jsonschema import Draft202012Validator
from pydantic import BaseModel
from ruamel.yaml import YAML

from actors.sources.base import SourceSettings
from cluster.config import llm as config_llm
from cluster.config import model as config
from cluster.config import output as config_output
from cluster.config import steps as config_steps
from cluster.config import tasks as config_tasks
from cluster.config.model import HeadraceConfig

DOCS = Path(__file__).parents[4] / "docs" / "configuration.md"
OWN = {
    name
    for module in (config, config_llm, config_output, config_steps, config_tasks)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, BaseModel) and value.__module__ == module.__name__
} | {"EndpointSettings", "TelemetrySection", "TraceSection"}
SOURCES = ("SimulatedSettings", "FilesSettings", "HttpSettings", "SqlSettings", "PythonSettings")
# The sections of the page, and the models whose keys their tables have.
PLACES: dict[str, tuple[str, ...]] = {
    "Top level": ("HeadraceConfig",),
    "kind: file": ("FileTasks",),
    "kind: range": ("RangeTasks",),
    "kind: inline": ("InlineTasks", "InlineTask"),
    "sources": ("SourceSettings",),
    "kind: simulated": ("SimulatedSettings",),
    "kind: files": ("FilesSettings",),
    "kind: http": ("HttpSettings", "Cursor"),
    "kind: sql": ("SqlSettings",),
    "kind: python": ("PythonSettings",),
    "llm": ("LLMSettings",),
    "llm.hedge": ("HedgeKeys",),
    "llm.endpoints": (
        *("EndpointSettings", "PriceSettings", "TierSettings"),
        *("CommandToken", "GoogleToken", "EntraToken", "PythonToken"),
    ),
    "llm.simulator": ("LLMSimulatorSettings",),
    "llm.retry": ("RetryKeys",),
    "evaluate": ("StepSettings",),
    "kind: embedding": ("EmbeddingStep",),
    "kind: rerank": ("RerankStep",),
    "Files": ("AttachmentSettings",),
    "Output": (
        *("StringField", "IntegerField", "NumberField", "BooleanField", "DateField"),
        *("ArrayField", "ObjectField", "JsonSchemaOutput"),
    ),
    "dimensions": ("Dimension",),
    "limits": ("LimitSettings",),
    "store": ("SqliteSection", "PostgresSection", "RedisSection", "MemorySection"),
    "output": ("OutputSettings", "SinkSettings"),
    "cluster": ("ClusterSettings",),
    "cluster.place": ("PlaceSettings", "NodeChoice"),
    "http": ("HttpApiSettings",),
    "telemetry": ("TelemetrySection",),
    "telemetry.traces": ("TraceSection",),
}


@functools.cache
def sections() -> dict[str, dict]:
    schema = HeadraceConfig.model_json_schema()
    return {"HeadraceConfig": schema, **schema["$defs"]}


def test_the_schema_allows_references_where_a_number_or_a_boolean_belongs():
    described = config.schema()["$defs"]
    limits = described["LimitSettings"]["properties"]
    assert limits["active_tasks"]["anyOf"][1] == {"type": "string", "pattern": r"\$\{"}
    assert limits["active_tasks"]["default"] == 1000
    assert described["NumberField"]["properties"]["type"]["const"] == "number"


def test_the_tables_of_each_section_have_its_keys_with_their_defaults_and_no_others():
    described = sections() | {"SourceSettings": SourceSettings.model_json_schema()}
    placed = {name for names in PLACES.values() for name in names}
    assert {name for name, one in described.items() if "properties" in one} == placed
    rows = rows_by_heading()
    wrong = {}
    for heading, names in PLACES.items():
        keys = {key for name in names for key in keys_of(described[name])}
        if names and names[0] in SOURCES:
            keys -= keys_of(described["SourceSettings"])
        if different := keys ^ rows.pop(heading):
            wrong[heading] = different
    assert wrong == {}
    assert rows == {}, "tables of keys in no known section"


def rows_by_heading() -> dict[str, set[tuple[str, str]]]:
    """Return key and default of the rows of all tables of keys, by the heading above them."""
    rows: dict[str, set[tuple[str, str]]] = {}
    for part in re.split(r"^#+ ", DOCS.read_text(), flags=re.MULTILINE):
        for table in re.findall(r"^\| key \| default \| meaning \|\n.*\n((?:\|.*\n)+)", part, re.MULTILINE):
            cells = [re.split(r"(?<!\\)\|", line)[1:3] for line in table.splitlines()]
            here = rows.setdefault(part.partition("\n")[0], set())
            here |= {(key.strip(" `"), default.strip(" `")) for key, default in cells}
    return rows


def keys_of(section: dict) -> set[tuple[str, str]]:
    return {(key, _default(section, key, about)) for key, about in section.get("properties", {}).items()}


def _default(section: dict, key: str, about: dict) -> str:
    if "const" in about:
        return about["const"]
    if key in section.get("required", ()):
        return "required"
    default = about.get("default")
    if isinstance(default, dict) and default:
        return "see below"
    if about.get("format") == "password":
        return "none"
    return "" if default in (None, "", [], {}) else json.dumps(default).strip('"')


def test_every_example_in_the_documentation_is_a_valid_configuration(tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert examples
    for example in examples:
        path = tmp_path / "example.yaml"
        path.write_text(example)
        config.load(path, env={"API_TOKEN": "t0ken"})


def test_every_key_says_what_it_means():
    undescribed = [
        f"{section}.{key}"
        for section, described in sections().items()
        for key, about in described.get("properties", {}).items()
        if described["title"] in OWN and "const" not in about and "description" not in about
    ]
    assert undescribed == []


def test_the_schema_accepts_every_example_and_refuses_a_misspelt_key():
    accepts = Draft202012Validator(config.schema()).is_valid
    examples = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    plain = YAML(typ="safe", pure=True)
    assert [example for example in examples if not accepts(plain.load(example))] == []
    assert not accepts({"evaluate": {"promt": "Rate {text}", "output": {"a": "str"}}})
    assert not accepts({"evaluate": {"prompt": "Rate {text}", "output": {"a": 5}}})
    nested = {"type": "object", "fields": {"b": "int", "c": {"type": "array", "items": "x | y"}}}
    assert accepts({"evaluate": {"prompt": "Rate {text}", "output": {"a": nested}}})
