from __future__ import annotations

import os
import time

import pytest

from cluster.config.file import Document, read
from cluster.config.problem import ConfigFileError, Position
from cluster.config.secrets import Reference, references

FARM = "title: t\nratio: 1\nservices: [{name: aa}, {name: bb}]\n"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    # One for all tests: making and removing a directory for each takes longer than the tests do.
    return tmp_path_factory.mktemp("config") / "farm.yaml"


@pytest.fixture
def document(path):
    def document(text: str | bytes, *overrides: str, **env: str) -> Document:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read(path, overrides, env)

    return document


@pytest.fixture
def values(document):
    def values(text: str | bytes, *overrides: str, **env: str):
        read_in = document(text, *overrides, **env)
        assert read_in.problems == []
        return read_in.values

    return values


@pytest.fixture
def problems(document, path):
    """Return the problems that did not stop the reader, or the one that did."""

    def problems(text: str | bytes, *overrides: str, **env: str) -> list[str]:
        try:
            found = document(text, *overrides, **env).problems
        except ConfigFileError as error:
            found = error.problems
        return [str(problem).replace(str(path), path.name) for problem in found]

    return problems


# ---- the file --------------------------------------------------------------------------------------------


def test_a_byte_order_mark_and_windows_line_ends_are_read_as_nothing_special(document):
    read_in = document(b"\xef\xbb\xbftitle: x\r\nopen: false\r\n")
    assert read_in.values == {"title": "x", "open": False}
    place = read_in.parsed.key_position(("open",))
    assert place == Position(place.file, 2, 1)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "farm.yaml: the file is empty (wanted a mapping)"),
        ("# nothing\n", "farm.yaml: the file is empty (wanted a mapping)"),
        ("- a\n", "farm.yaml:1:1: not a configuration (got a list, wanted a mapping)"),
        ("title", "farm.yaml:1:1: not a configuration (got title, wanted a mapping)"),
        ("title: a: b", "farm.yaml:1:9: not valid YAML: mapping values are not allowed here"),
        (b"title: x\nextra: \xff", "farm.yaml:2:1: not valid UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration_says_where(document, problems, text, problem):
    with pytest.raises(ConfigFileError):
        document(text)
    assert problems(text) == [problem]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        read(tmp_path / "nowhere.yaml", (), {})


def test_a_file_of_any_size_is_refused_after_reading_its_bound(problems):
    (problem,) = problems("extra: [" + "x, " * 100_000 + "]")
    assert problem.startswith("farm.yaml: too large (wanted at most 256 KiB")


# ---- environment -----------------------------------------------------------------------------------------


def test_references_are_replaced_within_text(values):
    assert values('title: "a ${X} b ${Y:-c}"', X="1") == {"title": "a 1 b c"}


def test_references_are_replaced_in_lists_and_in_mappings(values):
    assert values("a: ['${X}', {b: '${X}'}]", X="1") == {"a": ["1", {"b": "1"}]}


@pytest.mark.parametrize(
    ("text", "env", "value"),
    [("${X:-d}", {}, "d"), ("${X:-d}", {"X": ""}, "d"), ("${X:-}", {}, ""), ("${X}", {"X": ""}, "")],
)
def test_a_default_stands_in_for_an_unset_and_for_an_empty_variable(values, text, env, value):
    assert values(f"title: {text}", **env) == {"title": value}


@pytest.mark.parametrize("value", ["${Y}", "{a: 1}", "5", "null"])
def test_a_value_from_the_environment_is_neither_expanded_again_nor_parsed(values, value):
    assert values("title: ${X}", X=value) == {"title": value}


def test_a_doubled_dollar_writes_the_reference_itself(values):
    assert values("title: $${X} $5 $$") == {"title": "${X} $5 $$"}


@pytest.mark.parametrize("text", ["${", "${}", "${1a}", "${a b}", "${a-b}", "${a:b}"])
def test_a_malformed_reference_is_refused(problems, text):
    (problem,) = problems(f"title: '{text}'", a="1")
    assert (
        problem
        == "farm.yaml:1:8: title: malformed ${ (wanted ${NAME}, ${NAME:-default}, or $${ for a plain ${)"
    )


def test_a_malformed_reference_is_refused_with_the_environment_of_the_process(path):
    """os.environ accepts only text as a key, unlike a mapping."""
    path.write_text("title: t\nextra: a ${my-var}\n")
    (problem,) = read(path, (), os.environ).problems
    assert (problem.line, problem.message) == (2, "malformed ${")


def test_references_that_never_close_take_time_in_proportion_to_the_file(path):
    path.write_text(f"title: {'${A:-' * 30_000}\n")
    began = time.process_time()
    assert read(path, (), {}).problems
    assert time.process_time() - began < 10  # 40 s where each reference is searched to the end of the text


def test_an_unset_variable_is_named_with_its_line_and_the_nearest_set_one(problems):
    assert problems("open: true\nservices: [{port: '${APIPORT}'}]", API_PORT="1") == [
        (
            "farm.yaml:2:19: services.0.port: environment variable APIPORT is not set "
            "(wanted a value, or ${APIPORT:-default}); did you mean API_PORT?"
        )
    ]


def test_a_value_from_the_environment_becomes_a_number_once_and_only_on_request(document):
    read_in = document("ratio: ${R}\ntitle: ${T}", R="1.5", T="x")
    assert read_in.retype(("ratio",))
    assert not read_in.retype(("ratio",))
    assert not read_in.retype(("title",))
    assert read_in.values == {"ratio": 1.5, "title": "x"}


def test_text_is_censored_of_the_variables_that_were_used_and_are_no_common_word(document):
    read_in = document("a: ${LONG}\nb: ${SHORT}", LONG="s3cr3t", SHORT="no", UNUSED="unused")
    assert read_in.censor("no s3cr3t is unused") == "no ${LONG} is unused"


# ---- overrides -------------------------------------------------------------------------------------------


def test_an_override_reaches_keys_that_are_there_and_keys_that_are_not(values):
    assert values(
        "title: a\npets: [{kind: cat}]", "title=b", "pets.0.lives=3", "named.tom.kind=cat", "ratio=.5"
    ) == {
        "title": "b",
        "pets": [{"kind": "cat", "lives": 3}],
        "named": {"tom": {"kind": "cat"}},
        "ratio": 0.5,
    }


def test_an_entry_of_a_list_is_reached_by_its_name_and_by_its_index(values):
    changed = values("services: [{name: a}, {name: b}]", "services.b.port=9", "services.0.port=8")
    assert changed == {"services": [{"name": "a", "port": 8}, {"name": "b", "port": 9}]}


def test_an_override_is_yaml_and_the_last_one_wins(values):
    assert values("open: true", "extra=[1, {a: b}]", "open=false", "open=true") == {
        "open": True,
        "extra": [1, {"a": "b"}],
    }
    assert values("ratio: 1", "ratio=") == {"ratio": None}


def test_an_override_fills_an_empty_section(values):
    assert values("named:\n", "named.a.kind=cat") == {"named": {"a": {"kind": "cat"}}}


def test_an_override_changes_one_place_of_an_alias_only(values):
    changed = values("named: {a: &x {lives: 1}, b: *x}", "named.b.lives=2")
    assert changed == {"named": {"a": {"lives": 1}, "b": {"lives": 2}}}


def test_an_override_saves_from_setting_the_variable(values):
    assert values("title: ${UNSET}", "title=x") == {"title": "x"}
    assert values("title: a", "title=${X}", X="x") == {"title": "x"}


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("title", "--set title: not an assignment (wanted key.key=value)"),
        ("=3", "--set : not an assignment (wanted key.key=value)"),
        ("a..b=3", "--set a..b: not an assignment (wanted key.key=value)"),
        (".".join("a" * 50) + "=3", f"--set {'.'.join('a' * 50)}: not an assignment (wanted key.key=value)"),
        ("services.c.port=3", "--set services.c.port: no such entry (got c, wanted one of aa, bb)"),
        ("services.2.port=3", "--set services.2.port: no such entry (got 2, wanted one of aa, bb)"),
        (
            "services.bbb.port=3",
            "--set services.bbb.port: no such entry (got bbb, wanted one of aa, bb); did you mean bb?",
        ),
        ("title.x=3", "--set title.x: x cannot be set inside a value that is not a mapping"),
        ("extra='", "--set extra: not valid YAML: found unexpected end of stream"),
        ("extra=!!str 3", "--set extra: tags (a word beginning with !) are not allowed"),
        ("extra={a: 1, a: 2}", "--set extra: a: duplicate key"),
        (
            "ratio=${R}",
            "--set ratio: ratio: environment variable R is not set (wanted a value, or ${R:-default})",
        ),
    ],
)
def test_a_bad_override_is_named(problems, override, problem):
    assert problems(FARM, override) == [problem]


def test_bad_overrides_are_reported_beside_the_problems_of_the_file(problems):
    assert problems("title: ${T}\ntitle: x", "nothing", "more") == [
        "farm.yaml:2:1: title: duplicate key (got it stands in line 1 already)",
        "--set nothing: not an assignment (wanted key.key=value)",
        "--set more: not an assignment (wanted key.key=value)",
    ]


def test_the_variables_that_a_document_names_are_known_with_how_they_are_used(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        'name: "${NAME:-x}"\nllm: {endpoints: [{api_key: "${KEY}", model: "${MODEL}"}]}\n'
        'sources: [{headers: {Authorization: "Bearer ${TOKEN:-}"}, path: "${KEY:-}/$${NOT}"}]\n'
    )
    found = references(read(path, [], {}).parsed.value)
    assert found == {
        "NAME": Reference(is_secret=False, is_required=False),
        "KEY": Reference(is_secret=True, is_required=True),
        "MODEL": Reference(is_secret=False, is_required=True),
        "TOKEN": Reference(is_secret=True, is_required=False),
    }
