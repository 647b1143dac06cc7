"""A configuration is stored, shown and compared by references to the environment, never by their values."""

from __future__ import annotations

import json
import re

import pytest

from actors.core.journal.config_values import is_same_value
from cluster.checks.summary import summary_lines
from cluster.config import model as config
from cluster.config.problem import ConfigFileError
from cluster.config.secrets import MASK, masked, without_literals, without_secrets
from cluster.config.yaml import ParsedYaml
from cluster.records.run_journal import RunOrigin

# A canary in every place that takes text. `@NAME` becomes "${NAME}", whose value is "canary-NAME-...".
EVERYWHERE = """\
name: all
tasks: {kind: file, path: tasks.jsonl}
sources:
  - {name: api, kind: http, url: "https://example.test/v1/@A1/{key}?token=@A2&q=@A3", items: "@A4",
     text: "@A5", next: "@A6", cursor: {path: "@A7", parameter: "@A8"},
     headers: {Authorization: "Bearer @A9", X-More: "@A10"}}
  - {name: notes, kind: files, path: "s3://@B1:@B2@bucket/{key}/@B3", root: "s3://@B1:@B2@bucket/",
     text: "@B4", options: {key: "@B5", client_kwargs: {password: "@B6", list: ["@B7"]}, plain: "@B8"}}
  - {name: tickets, kind: sql, url: "postgresql+psycopg://@C1:@C2@db.test/x?options=@C3", query: "@C4",
     text: "@C5"}
  - {name: mine, kind: python, target: "my.sources:Mine", options: {team: "@D1", nested: {a: [{b: "@D2"}]}}}
llm:
  endpoints:
    - {name: main, base_url: "https://example.test/@E1/v1", model: "@E2", api_key: "@E3"}
evaluate:
  prompt: "@F1 {text}"
  output: {quality: {type: number, min: 0, max: 1}, kind: {type: string, choices: ["@F2", "x"]}}
dimensions: [{name: quality, field: quality, synthesize: "@G1 {evidence}"}]
store: {kind: postgres, url: "postgresql://@H1:@H2@db.test/x"}
"""
NAMES = sorted(set(re.findall(r"@([A-H]\d+)", EVERYWHERE)))


def canary(name: str) -> str:
    """Return the value of a variable; it may stand wherever text may."""
    return f"canary-{name}-x"


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides, **env):
        path = tmp_path / "run.yaml"
        path.write_text(re.sub(r"@([A-H]\d+)", r"${\1}", text))
        return config.load(path, overrides=overrides, env=env)

    return load


@pytest.fixture
def everywhere(load):
    return load(EVERYWHERE, **{name: canary(name) for name in NAMES})


def test_a_stored_configuration_has_references_in_place_of_values(everywhere):
    told = json.dumps(everywhere.stored())
    assert "canary" not in told
    assert {name for name in NAMES if f"${{{name}}}" not in told} == set()


def test_the_origin_of_a_run_holds_no_value(everywhere):
    origin = RunOrigin.of(everywhere, overrides=["sources.api.headers.Authorization=canary"])
    assert "canary" not in json.dumps([origin.config, origin.stored()])


def test_a_changed_value_is_no_changed_configuration(load, everywhere):
    other = load(EVERYWHERE, **{name: canary(name).upper() for name in NAMES})
    assert other.stored() == everywhere.stored()


def test_the_output_of_check_has_no_value(everywhere):
    assert not [line for line in summary_lines(everywhere) if "canary" in line]


def test_the_censor_of_a_configuration_knows_every_value(everywhere):
    censor = everywhere.censor()
    assert [name for name in NAMES if "canary" in censor(f"it said {canary(name)}!")] == []
    assert censor("all went well with quality and main") == "all went well with quality and main"


def test_a_password_that_was_not_encoded_is_not_told_in_parts(load):
    text = EVERYWHERE.replace('"postgresql://@H1:@H2@db.test/x"', '"@H1"')
    env = {name: canary(name) for name in NAMES} | {
        "C1": "left-C1/right-C1",
        "H1": "redis://u:some/secret@h/0",
    }
    censor = load(text, **env).censor()
    assert censor("failed to resolve host 'left-C1'") == "failed to resolve host '${C1}'"
    assert censor("no path right-C1") == "no path ${C1}"
    assert censor("Port could not be cast: some/secret, secret") == "Port could not be cast: ${H1}, ${H1}"


def test_names_and_numbers_and_local_paths_stay_readable(load):
    text = """\
name: "@A1"
tasks: {kind: file, path: "@A2/tasks.jsonl"}
sources: [{name: "@A3", kind: simulated, items: "@A4", required: "@A5"}]
evaluate: {prompt: "{text}", output: {quality: {type: number, min: "@A6", max: 1}}}
dimensions: [{name: q, field: quality}]
"""
    read = load(text, A1="reviews", A2="/data", A3="wire", A4="1234", A5="true", A6="0.25")
    assert read.stored()["name"] == "reviews"
    assert read.stored()["tasks"]["path"] == "/data/tasks.jsonl"
    (source,) = read.stored()["sources"]
    assert (source["name"], source["items"], source["required"]) == ("wire", 1234, True)
    assert read.stored()["evaluate"]["output"]["quality"]["min"] == 0.25
    assert read.censor()("reviews of /data: 1234 true") == "reviews of /data: 1234 true"


@pytest.mark.parametrize("written", ["@A1", "hunter2x"])
def test_the_url_of_the_tasks_and_of_the_results_is_stored_without_its_password(load, written):
    text = f"""\
tasks: {{kind: file, path: "https://user:{written}@h.test/r.csv"}}
evaluate: {{prompt: "{{text}}", output: {{q: {{type: string}}}}}}
output: {{directory: "memory://user:{written}@bucket/runs"}}
"""
    read = load(text, A1="canary-A1-x")
    told = json.dumps([read.stored(), summary_lines(read)])
    assert "canary" not in told
    assert "hunter2x" not in told
    shown = "${A1}" if written == "@A1" else MASK
    assert read.stored()["output"]["directory"].endswith(f":{shown}@bucket/runs")
    assert read.stored()["tasks"]["path"].endswith(f":{shown}@h.test/r.csv")
    assert written.replace("@A1", "canary-A1-x") not in read.censor()("denied: canary-A1-x, hunter2x")


@pytest.mark.parametrize(
    "tasks",
    [
        "{kind: inline, tasks: ['@A1']}",
        "{kind: inline, tasks: [{key: a, params: {x: {y: ['@A1']}}}]}",
        "{kind: range, count: 3, prefix: '@A1'}",
    ],
)
def test_a_task_is_data_that_is_stored_and_shown_so_that_no_reference_may_stand_in_it(load, tasks):
    text = EVERYWHERE.replace("{kind: file, path: tasks.jsonl}", tasks)
    with pytest.raises(ConfigFileError, match=r"run\.yaml:2:.*cannot stand in a task") as caught:
        load(text, **{name: canary(name) for name in NAMES})
    assert "canary" not in str(caught.value)


# ---- what is written out ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "written", "shown"),
    [
        (("sources", 0, "headers", "Authorization"), "Bearer abc123def", f"Bearer {MASK}"),
        (("sources", 0, "headers", "Authorization"), "Bearer ${T:-abc123def}", "Bearer ${T}"),
        (("sources", 0, "headers", "Accept"), "text/plain", "text/plain"),
        (("sources", 0, "options", "password"), "hunter2x", MASK),
        (("sources", 0, "options", "client_kwargs", "aws_secret_access_key"), "hunter2x", MASK),
        (("sources", 0, "options", "login", 1), "hunter2x", MASK),
        (("sources", 0, "options", "corpus"), "news", "news"),
        (("sources", 0, "options", "address"), "redis://u:pw@h/0", f"redis://{MASK}:{MASK}@h/0"),
        (("sources", 0, "path"), "s3://u:p/w@bucket/{key}", f"s3://{MASK}:{MASK}@bucket/{{key}}"),
        (("sources", 0, "path"), "s3://${U}:${P:-pw}@bucket/{key}", "s3://${U}:${P}@bucket/{key}"),
        (("sources", 0, "url"), "https://x.test:8443/@me/{key}", "https://x.test:8443/@me/{key}"),
        (
            ("sources", 0, "url"),
            "https://x.test/{key}?lang=de&limit=100&q={key}&appid=0123abcd&key=ab",
            f"https://x.test/{{key}}?lang=de&limit=100&q={{key}}&appid={MASK}&key={MASK}",
        ),
        (("store", "url"), "host=db password=hunter2x", MASK),
        (("store", "url"), "${URL:-redis://u:hunter2x@h/0}", "${URL}"),
        (("llm", "endpoints", 0, "base_url"), "${URL:-http://h.test/v1}", "${URL:-http://h.test/v1}"),
        (("llm", "endpoints", 0, "api_key"), "hunter2x", MASK),
        (("evaluate", "prompt"), "Is {text} at https://x.test/?a=bcdef good?", None),
        (("tasks", "tasks", 0, "params", "author"), "Ann", "Ann"),
    ],
)
def test_a_secret_that_is_written_out_is_known_by_its_whole_path_or_its_place_in_a_url(path, written, shown):
    assert masked(path, written).text == (written if shown is None else shown)


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("hunter2x", MASK),
        ("--token=swordfish", f"--token={MASK}"),
        ("Authorization: Bearer swordfish", f"Authorization: Bearer {MASK}"),
        ("Authorization: Bearer ${KEY}", None),
        ("--token=${KEY:-swordfish}", "--token=${KEY}"),
        ('{"client_secret": "swordfish"}', f'{{"client_secret": "{MASK}"}}'),
        (
            "curl -H 'Key: swordfish' -p1 --pwd sesame https://u:pw@h.test/v1/t?key=abc | jq .t",
            f"curl -H 'Key: {MASK}' -p1 --pwd {MASK} https://{MASK}:{MASK}@h.test/v1/t?key={MASK} | jq .t",
        ),
        ("echo got CmdErr-Secret-4321 >&2; exit 3", f"echo got {MASK} >&2; exit 3"),
        ("print-access-token", None),
        ("us-east-1", None),
        ("--scopes=https://h.test/auth/cloud-platform", None),
        ("get_token2.py", None),
        ("/opt/bin/token2", None),
        ("import sys; print('x', file=sys.stderr); sys.exit(3)", None),
    ],
)
def test_a_command_that_gives_a_token_is_stored_without_the_secrets_in_its_words(word, shown):
    path = ("llm", "endpoints", 0, "credentials", "command", 2)
    assert masked(path, word).text == (word if shown is None else shown)
    assert masked((*path[:-1], 0), "tool2.1").text == "tool2.1"


@pytest.mark.parametrize(
    "override",
    [
        "sources.api.headers.Authorization=Bearer hunter2x",
        "sources.api.headers={Authorization: hunter2x}",
        "sources.notes.options.password=hunter2x",
        "sources.notes.options={client_kwargs: {token: hunter2x}}",
        "sources.notes.path=s3://user:hunter2x@bucket/",
        "sources.api.url=https://example.test/?token=hunter2x",
        "llm.endpoints.main.api_key=hunter2x${A}",
        "llm.endpoints.main.credentials={kind: command, command: [login, -p, hunter2x]}",
        "llm.endpoints.main.api_key=${A:-hunter2x}",
        "llm.endpoints.main.base_url=${A:-https://u:hunter2x@h.test/v1}",
        "store={kind: postgres, url: 'postgresql://u:hunter2x@h/d'}",
        "sources=[{name: a, kind: http, url: 'https://u:hunter2x@h/d'}]",
        "output.directory=s3://AKIA:hunter2x@bucket",
        "output={directory: 's3://AKIA:hunter2x@bucket'}",
        "tasks={kind: file, path: 'https://h.test/r.csv?token=hunter2x'}",
        "tasks.path=https://u:hunter2x@h.test/r.csv",
    ],
)
def test_an_override_that_holds_a_secret_is_neither_stored_nor_submitted(override):
    key = override.partition("=")[0]
    assert without_secrets([override, "name=x"]) == (["name=x"], [key])


@pytest.mark.parametrize(
    "override",
    [
        "sources.api.headers.Authorization=Bearer ${TOKEN}",
        "sources.notes.options.password=${PW}",
        "sources.notes.path=s3://${U}:${P}@bucket/",
        "sources.api.url=https://example.test/{key}?token=${TOKEN}&lang=de",
        "llm.endpoints.main.api_key=${A:-none}",
        "llm.endpoints=[{name: a, base_url: '${A:-http://127.0.0.1:9/v1}', api_key: '${B}'}]",
        "limits.active_tasks=5",
        "tasks={kind: file, path: a.csv}",
    ],
)
def test_an_override_that_refers_to_the_environment_is_stored(override):
    assert without_secrets([override]) == ([override], [])


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("llm: {endpoints: [{api_key: '${KEY}', model: m}]}", None),
        (
            "llm: {endpoints: [{api_key: hunter2x, model: m}]}",
            {"llm": {"endpoints": [{"api_key": MASK, "model": "m"}]}},
        ),
    ],
)
def test_the_id_of_a_submitted_run_is_made_without_secrets_that_it_would_let_guess(text, hidden):
    assert without_literals(ParsedYaml(text, "f").value) == hidden


# ---- stores of the first edition -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("https://x.test/s3cr3t/{key}", "https://x.test/${T}/{key}", True),
        ("https://y.test/s3cr3t/{key}", "https://x.test/${T}/{key}", False),
        (MASK, "Bearer ${T}", True),
        ("https://x.test/?a=hunter2x", f"https://x.test/?a={MASK}", True),
        ("${A}", "${B}", False),
        ("a", "b", False),
        (1, "${B}", False),
        (None, "${B}", False),
    ],
)
def test_a_value_that_was_stored_in_clear_is_the_same_as_its_reference(before, after, same):
    assert is_same_value(before, after, in_clear=True) is same


def test_a_literal_that_became_a_reference_is_a_change_unless_it_is_a_hidden_secret():
    assert not is_same_value("gpt-4", "${MODEL}", in_clear=False)
    assert is_same_value("gpt-4", "gpt-4", in_clear=False)
    assert is_same_value(MASK, "Bearer ${T}", in_clear=False)
