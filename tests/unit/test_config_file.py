from __future__ import annotations

import pickle
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from actors.core.errors import Blame, ConfigError
from cluster.config_file import ConfigFileError, Problem, load_model, resolve


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cat(Strict):
    kind: Literal["cat"]
    lives: int = 9


class Dog(Strict):
    kind: Literal["dog"]
    barks: bool = True


class Service(Strict):
    name: str
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    api_key: SecretStr = SecretStr("none")
    pin: SecretStr = SecretStr("0000")
    url: str = "http://localhost"

    @field_validator("url")
    @classmethod
    def _has_a_scheme(cls, value: str) -> str:
        if "://" not in value:
            raise ValueError(f"{value} has no scheme")
        return value


class Farm(Strict):
    title: str = ""
    code: Annotated[str, Field(pattern="^[a-z]*$")] = ""
    pets: tuple[Annotated[Cat | Dog, Field(discriminator="kind")], ...] = ()
    services: tuple[Service, ...] = ()
    named: dict[Annotated[str, Field(pattern="^[a-z]+$")], Cat] = {}
    ratio: float | None = None
    open: bool = True
    level: Literal["low", "high"] = "low"
    extra: Any = None


@pytest.fixture
def load(tmp_path):
    def load(text: str | bytes, *overrides: str, **env: str) -> Farm:
        path = tmp_path / "farm.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_model(Farm, path, overrides=overrides, env=env)

    return load


@pytest.fixture
def problems(load, tmp_path):
    def problems(text: str | bytes, *overrides: str, **env: str) -> list[str]:
        with pytest.raises(ConfigFileError) as caught:
            load(text, *overrides, **env)
        return [line.replace(f"{tmp_path}/", "") for line in str(caught.value).split("\n")]

    return problems


# ---- reading ---------------------------------------------------------------------------------------------


def test_a_file_becomes_a_frozen_model(load):
    farm = load("title: x\npets: [{kind: cat, lives: 7}, {kind: dog}]\nratio: 1\n")
    assert farm == Farm(title="x", pets=(Cat(kind="cat", lives=7), Dog(kind="dog")), ratio=1.0)


def test_a_byte_order_mark_and_windows_line_ends_are_read_as_nothing_special(load, problems):
    assert load(b"\xef\xbb\xbftitle: x\r\nopen: false\r\n") == Farm(title="x", open=False)
    assert problems(b"\xef\xbb\xbftitle: x\r\nopne: false\r\n") == [
        "farm.yaml:2:1: opne: unknown key; did you mean open?"
    ]


@pytest.mark.parametrize(
    "word", ["no", "on", "off", "yes", "y", "1:30", "0777_1", "2024-01-01", "1_000", "="]
)
def test_what_older_yaml_turned_into_something_else_stays_text(load, word):
    assert load(f"title: {word}").title == word


def test_a_word_for_true_of_older_yaml_is_no_boolean(problems):
    assert problems("open: no") == ["farm.yaml:1:7: open: wrong value (got no, wanted true or false)"]


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


def test_an_integer_of_thousands_of_digits_is_refused_like_any_wrong_value(problems):
    (problem,) = problems(f"services: [{{name: a, port: {'9' * 5000}}}]")
    assert problem.startswith("farm.yaml:1:28: services.0.port: wrong value (got 999")
    assert len(problem) < 200


def test_quoted_scalars_are_text(load):
    assert load("title: '5'").title == "5"


def test_an_alias_stands_for_its_anchor(load):
    farm = load("named: {a: &tom {kind: cat, lives: 3}, b: *tom}")
    assert farm.named["b"] == Cat(kind="cat", lives=3)


# ---- files that cannot be parsed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "farm.yaml: the file is empty (wanted a mapping)"),
        ("# nothing\n", "farm.yaml: the file is empty (wanted a mapping)"),
        ("- a\n", "farm.yaml:1:1: not a configuration (got a list, wanted a mapping)"),
        ("title", "farm.yaml:1:1: not a configuration (got title, wanted a mapping)"),
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
        ("? [a]\n: b", "farm.yaml:1:3: a key must be a single text without a tag"),
        ("extra: *x", "farm.yaml:1:8: alias *x has no complete anchor before it"),
        ("extra: &x [*x]", "farm.yaml:1:12: alias *x has no complete anchor before it"),
        ("title: a\x01b", "farm.yaml: not valid YAML: special characters are not allowed"),
        (b"title: x\nextra: \xff", "farm.yaml:2:1: not valid UTF-8"),
        ("extra: " + "[" * 41 + "]" * 41, "farm.yaml:1:48: nested too deeply (wanted at most 40 levels)"),
        ('title: "\\ud800"', "farm.yaml:1:1: some text is not valid Unicode"),
    ],
)
def test_a_file_that_cannot_be_parsed_says_where(problems, text, problem):
    assert problems(text) == [problem]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load_model(Farm, tmp_path / "nowhere.yaml", env={})


def test_a_file_of_any_size_is_refused_after_reading_its_bound(problems):
    (problem,) = problems("extra: [" + "x, " * 100_000 + "]")
    assert problem.startswith("farm.yaml: too large (wanted at most 256 KiB")


def test_aliases_of_aliases_do_not_multiply_without_bound(problems):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    (problem,) = problems("\n".join(lines))
    assert problem.endswith("aliases expand to too much (wanted at most 10000 values)")


def test_aliases_of_aliases_do_not_nest_without_bound(problems):
    lines = ["a0: &a0 x", *(f"a{n}: &a{n} [[[*a{n - 1}]]]" for n in range(1, 30))]
    (problem,) = problems("\n".join(lines))
    assert problem == "farm.yaml:15:14: nested too deeply (wanted at most 40 levels)"


@pytest.mark.parametrize(
    "tag", ["!!python/object:os.system", "!!python/object/apply:os.system", "!!str", "!x"]
)
def test_no_tag_is_obeyed(problems, tag):
    assert problems(f"title: {tag} rm") == [
        "farm.yaml:1:8: title: tags (a word beginning with !) are not allowed here"
    ]


def test_merge_keys_are_refused(problems):
    found = problems("extra: {<<: {a: 1}}")
    assert found == ["farm.yaml:1:9: extra: merge keys (<<) are not allowed; write the keys out"]


def test_a_duplicate_key_names_the_line_of_the_first(problems):
    assert problems("title: a\nopen: true\ntitle: b\n") == [
        "farm.yaml:3:1: title: duplicate key (got it stands in line 1 already)"
    ]


# ---- values that do not fit ------------------------------------------------------------------------------


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(problems):
    text = "pets:\n  - {kind: cat, lives: x}\n  - {kind: dgo}\nratoi: 1\ntitle: ${T}\n"
    assert problems(text) == [
        "farm.yaml:2:24: pets.0.lives: wrong value (got x, wanted a whole number)",
        "farm.yaml:3:12: pets.1.kind: unknown kind (got dgo, wanted one of cat, dog); did you mean dog?",
        "farm.yaml:4:1: ratoi: unknown key; did you mean ratio?",
        "farm.yaml:5:8: title: environment variable T is not set (wanted a value, or ${T:-default})",
    ]


def test_an_unknown_key_is_compared_with_the_keys_of_the_chosen_kind_only(problems):
    assert problems("pets: [{kind: dog, live: 3}]") == [
        "farm.yaml:1:20: pets.0.live: unknown key (wanted one of kind, barks)"
    ]
    assert problems("pets: [{kind: cat, live: 3}]") == [
        "farm.yaml:1:20: pets.0.live: unknown key; did you mean lives?"
    ]


def test_a_key_that_is_called_like_a_kind_is_found_where_it_is(problems):
    assert problems("pets: [{kind: cat, cat: 1}]") == [
        "farm.yaml:1:20: pets.0.cat: unknown key (wanted one of kind, lives)"
    ]


def test_a_missing_kind_is_asked_for(problems):
    assert problems("pets: [{lives: 3}]") == [
        "farm.yaml:1:8: pets.0.kind: required key is missing (wanted one of cat, dog)"
    ]


def test_a_missing_key_is_reported_at_the_mapping_that_lacks_it(problems):
    assert problems("services:\n  - port: 80\n") == [
        "farm.yaml:2:5: services.0.name: required key is missing"
    ]


def test_a_bad_key_is_shown_itself(problems):
    assert problems("named: {A1: {kind: cat}}") == [
        "farm.yaml:1:9: named.A1: wrong form (got A1, wanted text that matches ^[a-z]+$)"
    ]


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("true", "true"),
        ('"5"', '"5"'),
        ("1.5", "1.5"),
        ("null", "null"),
        ("[]", "a list"),
        ("{}", "a mapping"),
    ],
)
def test_types_are_not_guessed(problems, value, got):
    assert problems(f"pets: [{{kind: cat, lives: {value}}}]") == [
        f"farm.yaml:1:27: pets.0.lives: wrong value (got {got}, wanted a whole number)"
    ]


@pytest.mark.parametrize("value", ["0", "-1", "65536", "99999999999999999999999999"])
def test_a_number_out_of_bounds_says_the_bound(problems, value):
    (problem,) = problems(f"services: [{{name: a, port: {value}}}]")
    assert f"services.0.port: wrong value (got {value}, wanted " in problem
    assert "than or equal to" in problem


def test_a_wrong_choice_is_answered_with_the_nearest(problems):
    assert problems("level: hihg") == [
        "farm.yaml:1:8: level: wrong value (got hihg, wanted 'low' or 'high'); did you mean high?"
    ]


def test_a_list_is_not_called_short_because_its_entries_are_wrong(tmp_path):
    class Herd(Strict):
        cows: Annotated[tuple[int, ...], Field(min_length=1)]

    path = tmp_path / "herd.yaml"
    path.write_text("cows: [x]")
    with pytest.raises(ConfigFileError) as caught:
        load_model(Herd, path, env={})
    assert [problem.path for problem in caught.value.problems] == ["cows.0"]
    path.write_text("cows: []")
    with pytest.raises(ConfigFileError, match="at least 1 item"):
        load_model(Herd, path, env={})


# ---- secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "services: [{name: a, api_key: 31415926}]",
        "services: [{name: a, api_key: {31415926: x}}]",
        "services: [{name: a, pin: 31415926}]",  # known as a secret by its type
        "services: [{name: a, url: 31415926}]",
        "services: [{name: a, url: '31415926'}]",  # the validator's own message quotes it
        "services: [{name: a, api_kye: 31415926}]",
        "services: [{name: a, port: '${S}'}]",
        "services: [{name: a, url: '${S}'}]",
        "title: ['${S}']",
        "level: '${S}'",
    ],
)
def test_no_problem_shows_a_secret(problems, text):
    (problem,) = problems(text, S="31415926")
    assert "31415926" not in problem.replace("api_key.31415926", "")


# ---- environment -----------------------------------------------------------------------------------------


def test_references_are_replaced_within_text(load):
    assert load('title: "a ${X} b ${Y:-c}"', X="1").title == "a 1 b c"


def test_a_default_stands_in_for_an_unset_and_for_an_empty_variable(load):
    assert load("title: ${X:-d}").title == "d"
    assert load("title: ${X:-d}", X="").title == "d"
    assert load("title: ${X:-}").title == ""
    assert load("title: ${X}", X="").title == ""


def test_a_replaced_value_is_whatever_the_key_wants(load):
    text = 'title: ${N}\nservices: [{name: "${N}", port: "${N}"}]\nratio: ${R:-null}\nopen: ${O}'
    farm = load(text, N="8080", O="false")
    assert farm == Farm(title="8080", services=(Service(name="8080", port=8080),), ratio=None, open=False)


def test_a_replaced_value_that_does_not_fit_is_shown_as_written(problems):
    assert problems("ratio: ${R}", R="many") == [
        "farm.yaml:1:8: ratio: wrong value (got ${R}, wanted a number)"
    ]


def test_a_replaced_text_of_the_wrong_form_is_not_taken_for_a_number(problems):
    assert problems("code: ${C}", C="5") == [
        "farm.yaml:1:7: code: wrong form (got ${C}, wanted text that matches ^[a-z]*$)"
    ]


def test_a_value_from_the_environment_is_neither_expanded_again_nor_parsed(load):
    assert load("title: ${X}", X="${Y}").title == "${Y}"
    assert load("extra: ${X}", X="{a: 1}").extra == "{a: 1}"


def test_a_doubled_dollar_writes_the_reference_itself(load):
    assert load("title: $${X} $5 $$").title == "${X} $5 $$"


@pytest.mark.parametrize("text", ["${", "${}", "${1a}", "${a b}", "${a-b}", "${a:b}"])
def test_a_malformed_reference_is_refused(problems, text):
    (problem,) = problems(f"title: '{text}'", a="1")
    assert (
        problem
        == "farm.yaml:1:8: title: malformed ${ (wanted ${NAME}, ${NAME:-default}, or $${ for a plain ${)"
    )


def test_an_unset_variable_is_named_once_with_its_line_and_the_nearest_set_one(problems):
    assert problems("open: true\nservices: [{name: a, port: '${APIPORT}'}]", API_PORT="1") == [
        (
            "farm.yaml:2:28: services.0.port: environment variable APIPORT is not set "
            "(wanted a value, or ${APIPORT:-default}); did you mean API_PORT?"
        )
    ]


# ---- overrides -------------------------------------------------------------------------------------------


def test_an_override_reaches_keys_that_are_there_and_keys_that_are_not(load):
    farm = load(
        "title: a\npets: [{kind: cat}]", "title=b", "pets.0.lives=3", "named.tom.kind=cat", "ratio=.5"
    )
    expected = Farm(title="b", pets=(Cat(kind="cat", lives=3),), named={"tom": Cat(kind="cat")}, ratio=0.5)
    assert farm == expected


def test_an_entry_of_a_list_is_reached_by_its_name(load):
    farm = load("services: [{name: a}, {name: b}]", "services.b.port=9", "services.0.port=8")
    assert [service.port for service in farm.services] == [8, 9]


def test_an_override_is_yaml_and_the_last_one_wins(load):
    assert load("open: true", "extra=[1, {a: b}]", "open=false", "open=true").extra == [1, {"a": "b"}]
    assert load("ratio: 1", "ratio=").ratio is None


def test_an_override_fills_an_empty_section(load):
    assert load("named:\n", "named.a.kind=cat").named == {"a": Cat(kind="cat")}


def test_an_override_changes_one_place_of_an_alias_only(load):
    farm = load("named: {a: &x {kind: cat, lives: 1}, b: *x}", "named.b.lives=2")
    assert (farm.named["a"].lives, farm.named["b"].lives) == (1, 2)


def test_an_override_saves_from_setting_the_variable(load):
    assert load("title: ${UNSET}", "title=x").title == "x"
    assert load("title: a", "title=${X}", X="x").title == "x"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("title", "--set title: not an assignment (wanted key.key=value)"),
        ("=3", "--set : not an assignment (wanted key.key=value)"),
        ("a..b=3", "--set a..b: not an assignment (wanted key.key=value)"),
        (".".join("a" * 50) + "=3", f"--set {'.'.join('a' * 50)}: not an assignment (wanted key.key=value)"),
        (
            "services.c.port=3",
            "--set services.c.port: no such entry (got c, wanted one of aa, bb)",
        ),
        (
            "services.2.port=3",
            "--set services.2.port: no such entry (got 2, wanted one of aa, bb)",
        ),
        ("title.x=3", "--set title.x: x cannot be set inside a value that is not a mapping"),
        ("titel=3", "--set titel: titel: unknown key; did you mean title?"),
        ("ratio=x", "--set ratio: ratio: wrong value (got x, wanted a number)"),
        ("extra='", "--set extra: not valid YAML: found unexpected end of stream"),
        ("extra=!!str 3", "--set extra: tags (a word beginning with !) are not allowed here"),
        ("extra={a: 1, a: 2}", "--set extra: a: duplicate key"),
    ],
)
def test_a_bad_override_is_named(problems, override, problem):
    assert problems("title: t\nservices: [{name: aa}, {name: bb}]", override) == [problem]


def test_bad_overrides_are_reported_beside_the_problems_of_the_file(problems):
    assert len(problems("ratio: x", "nothing", "titel=3")) == 3


# ---- the error -------------------------------------------------------------------------------------------


def test_the_error_is_the_configs_fault_and_survives_pickling():
    problem = Problem("f.yaml", 3, 4, "a.b", "wrong value", "1", "2", "c")
    error = pickle.loads(pickle.dumps(ConfigFileError((problem, problem))))  # noqa: S301 - our own bytes
    assert isinstance(error, ConfigError)
    assert error.problems == (problem, problem)
    assert error.failure().blame is Blame.CONFIG
    assert str(error).split("\n") == ["f.yaml:3:4: a.b: wrong value (got 1, wanted 2); did you mean c?"] * 2
