"""The examples of docs/python.md run in their order, and say what the page says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import headrace
from headrace.map_call import MapOptions
from headrace.rows.columns import output_of

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_examples_of_the_page_run(place, capsys):
    (place / "tiny.yaml").rename("my.yaml")
    names = {}
    for example in EXAMPLES:
        exec(compile(example, "python.md", "exec", dont_inherit=True), names)  # noqa: S102 - our own page
    assert names["rated"]["_error"].isna().tolist() == [True, True, False]
    fields = [output_of(names[each]) for each in ("as_texts", "as_list", "as_types", "Ticket")]
    assert fields == [fields[0]] * 4
    assert names["run"].state == "succeeded"
    assert len(names["items"]) > 10
    assert (place / "report.html").exists()
    printed = capsys.readouterr().out
    assert "3 rows · 2 different" in printed
    assert "txt" in printed.splitlines()[-1]


@pytest.mark.parametrize("name", sorted(headrace.__all__))
def test_the_page_names_everything_that_is_public(name):
    assert f"headrace.{name}" in PAGE or f"`{name}" in PAGE or name in ("Run", "__version__")


def test_map_and_its_options_have_the_same_arguments_and_describe_them():
    parameters = inspect.signature(headrace.map).parameters
    optional = {name for name, one in parameters.items() if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert optional == set(MapOptions.__annotations__)
    described = inspect.getdoc(headrace.map)
    assert all(re.search(rf"^(\w+, )*{name}(, \w+)*: ", described, re.MULTILINE) for name in parameters)
