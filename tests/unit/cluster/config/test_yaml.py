from __future__ import annotations

import pytest

from actors.core.messages.values import Json
from cluster.config.paths import mapped
from cluster.config.problem import ConfigFileError, Position
from cluster.config.yaml import ParsedYaml, described, resolve


def values(text: str) -> Json:
    parsed = ParsedYaml(text, "farm.yaml")
    assert parsed.problems == []
    return parsed.value and mapped(parsed.value, lambda _, scalar: resolve(scalar))


def problems(text: str, *, numbered: bool = True) -> list[str]:
    """Return the problems that did not stop the parser, or the one that did."""
    try:
        return [str(problem) for problem in ParsedYaml(text, "farm.yaml", numbered=numbered).problems]
    except ConfigFileError as error:
        (problem,) = error.problems
        return [str(problem)]


# ---- what text means -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["no", "on", "off", "yes", "y", "1:30", "0777_1", "2024-01-01", "1_000", "="]
)
def test_the_special_words_of_yaml_1_1_stay_text(word):
    assert values(f"title: {word}") == {"title": word}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("Null", None),
        ("TRUE", True),
        ("false", False),
        ("+12", 12),
        ("-0", 0),
        ("010", 10),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("1e400", "1e400"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("nULL", "nULL"),
        ("- 1", "- 1"),
    ],
)
def test_unquoted_scalars_follow_the_core_schema(text, value):
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize("text", ["'5'", '"5"', "|-\n  5"])
def test_quoted_scalars_are_text(text):
    assert values(f"title: {text}") == {"title": "5"}


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_text_has_no_root(text):
    assert values(text) is None


def test_an_alias_stands_for_its_anchor():
    assert values("{a: &tom {kind: cat, lives: 3}, b: *tom}")["b"] == {"kind": "cat", "lives": 3}


def test_keys_and_values_have_positions():
    parsed = ParsedYaml("a: 1\nbb:\n  - x\n  - [y]\n", "farm.yaml")
    assert parsed.key_position(("bb",)) == Position("farm.yaml", 2, 1)
    assert parsed.position(("bb", 1)) == Position("farm.yaml", 4, 5)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5", "5"),
        ("'5'", '"5"'),
        ("", "null"),
        ("[1]", "a list"),
        ("{}", "a mapping"),
        ("x" * 61, 57 * "x" + "..."),
    ],
)
def test_a_value_is_shown_as_written_and_not_at_length(text, shown):
    assert described(ParsedYaml(f"a: {text}", "farm.yaml").value["a"]) == shown


# ---- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "title:\n\t- x",
            "farm.yaml:2:1: not valid YAML: a tab cannot indent or begin a value; use spaces",
        ),
        ("title: a: b", "farm.yaml:1:9: not valid YAML: mapping values are not allowed here"),
        ("title: 'x", "farm.yaml:1:10: not valid YAML: found unexpected end of stream"),
        (
            "extra: {a: ${X}}",
            (
                "farm.yaml:1:13: not valid YAML: expected ',' or '}', but got '{'; "
                'inside { } and [ ] quote what holds braces or commas: "${NAME}"'
            ),
        ),
        ("title: x\n---\ntitle: y\n", "farm.yaml:2:1: a second document begins here; a file holds one"),
        ("? [a]\n: b", "farm.yaml:1:3: a key must be a single text"),
        ("extra: *x", "farm.yaml:1:8: not valid YAML: found undefined alias 'x'"),
        ("extra: &x [*x]", "farm.yaml:1:8: nested too deeply, in more than 40 levels"),
        ("title: a\x01b", "farm.yaml: not valid YAML: special characters are not allowed"),
        ("extra: " + "[" * 41 + "]" * 41, "farm.yaml:1:48: nested too deeply, in more than 40 levels"),
    ],
)
def test_text_that_cannot_be_parsed_says_where(text, problem):
    with pytest.raises(ConfigFileError):
        ParsedYaml(text, "farm.yaml")
    assert problems(text) == [problem]


def test_aliases_of_aliases_do_not_multiply_without_bound():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    (problem,) = problems("\n".join(lines))
    assert problem.endswith("aliases expand to too much, more than 10000 values")


def test_aliases_of_aliases_do_not_nest_without_bound():
    lines = ["a0: &a0 x", *(f"a{n}: &a{n} [[[*a{n - 1}]]]" for n in range(1, 30))]
    (problem,) = problems("\n".join(lines))
    assert problem == "farm.yaml:2:10: nested too deeply, in more than 40 levels"


@pytest.mark.parametrize(
    "tag", ["!!python/object:os.system", "!!python/object/apply:os.system", "!!str", "!x", "!", "&a !x"]
)
def test_no_tag_is_obeyed(tag):
    assert problems(f"title: {tag} rm") == ["farm.yaml:1:8: tags (a word beginning with !) are not allowed"]


def test_merge_keys_are_refused():
    assert problems("extra: {<<: {a: 1}}") == [
        "farm.yaml:1:9: extra: merge keys (<<) are not allowed; write the keys out"
    ]


def test_a_duplicate_key_names_the_line_of_the_first():
    assert problems("title: a\nopen: true\ntitle: b\n") == [
        "farm.yaml:3:1: title: duplicate key (got it stands in line 1 already)"
    ]


def test_problems_of_text_without_lines_show_none():
    text = "{a: !x 1, a: 2}"
    assert problems(text, numbered=False) == [
        "farm.yaml: tags (a word beginning with !) are not allowed",
        "farm.yaml: a: duplicate key",
    ]
