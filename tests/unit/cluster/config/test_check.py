from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from cluster.config.check import load_checked
from cluster.config.problem import ConfigFileError


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


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    # One for all tests: making and removing a directory for each takes longer than the tests do.
    return tmp_path_factory.mktemp("config") / "farm.yaml"


@pytest.fixture
def load(path):
    def load(text: str | bytes, *overrides: str, **env: str) -> Farm:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_checked(Farm, path, overrides=overrides, env=env)[0]

    return load


@pytest.fixture
def problems(load, path):
    def problems(text: str | bytes, *overrides: str, **env: str) -> list[str]:
        with pytest.raises(ConfigFileError) as caught:
            load(text, *overrides, **env)
        return [line.replace(str(path), path.name) for line in str(caught.value).split("\n")]

    return problems


# ---- values that fit -------------------------------------------------------------------------------------


def test_a_file_becomes_a_frozen_model(load):
    farm = load("title: x\npets: [{kind: cat, lives: 7}, {kind: dog}]\nratio: 1\n")
    assert farm == Farm(title="x", pets=(Cat(kind="cat", lives=7), Dog(kind="dog")), ratio=1.0)


def test_a_replaced_value_is_read_as_the_type_of_its_key(load):
    text = 'title: ${N}\nservices: [{name: "${N}", port: "${N}"}]\nratio: ${R:-null}\nopen: ${O}'
    farm = load(text, N="8080", O="false")
    assert farm == Farm(title="8080", services=(Service(name="8080", port=8080),), ratio=None, open=False)


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


def test_a_list_is_called_short_only_if_the_file_has_too_few_entries(tmp_path):
    class Herd(Strict):
        cows: Annotated[tuple[int, ...], Field(min_length=2)]

    path = tmp_path / "herd.yaml"
    path.write_text("cows: [1, x]")
    with pytest.raises(ConfigFileError) as caught:
        load_checked(Herd, path, env={})
    assert [problem.path for problem in caught.value.problems] == ["cows.1"]
    path.write_text("cows: [1]")
    with pytest.raises(ConfigFileError, match="at least 2 items"):
        load_checked(Herd, path, env={})


def test_a_word_for_true_of_older_yaml_is_no_boolean(problems):
    assert problems("open: no") == ["farm.yaml:1:7: open: wrong value (got no, wanted true or false)"]


def test_an_integer_of_thousands_of_digits_is_refused_like_any_wrong_value(problems):
    (problem,) = problems(f"services: [{{name: a, port: {'9' * 5000}}}]")
    assert problem.startswith("farm.yaml:1:28: services.0.port: wrong value (got 999")
    assert len(problem) < 200


def test_a_replaced_value_that_does_not_fit_is_shown_as_written(problems):
    assert problems("ratio: ${R}", R="many") == [
        "farm.yaml:1:8: ratio: wrong value (got ${R}, wanted a number)"
    ]


def test_a_replaced_text_of_the_wrong_form_is_not_taken_for_a_number(problems):
    assert problems("code: ${C}", C="5") == [
        "farm.yaml:1:7: code: wrong form (got ${C}, wanted text that matches ^[a-z]*$)"
    ]


def test_half_a_surrogate_pair_is_no_text(problems):
    assert problems('title: "\\ud800"') == ["farm.yaml:1:1: some text is not valid Unicode"]


def test_an_unset_variable_is_no_second_problem_at_its_place(problems):
    (problem,) = problems("services: [{name: a, port: '${APIPORT}'}]")
    assert problem.startswith("farm.yaml:1:28: services.0.port: environment variable APIPORT is not set")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("titel=3", "--set titel: titel: unknown key; did you mean title?"),
        ("ratio=x", "--set ratio: ratio: wrong value (got x, wanted a number)"),
    ],
)
def test_a_problem_in_an_override_names_the_override(problems, override, problem):
    assert problems("title: t", override) == [problem]


def test_bad_overrides_are_reported_beside_the_problems_of_the_file(problems):
    assert len(problems("ratio: x", "nothing", "titel=3")) == 3


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
