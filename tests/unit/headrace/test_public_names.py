"""What `import headrace` offers."""

from __future__ import annotations

import importlib
import inspect

import pytest

import headrace
from actors.core.errors import HeadraceError
from cluster.program import VERSION


@pytest.mark.parametrize("name", headrace.__all__)
def test_every_public_name_exists_and_is_described(name):
    found = getattr(headrace, name)
    assert inspect.getdoc(found)
    assert name in dir(headrace)


def test_the_version_is_that_of_the_program():
    assert headrace.__version__ == VERSION


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'headrace' has no attribute 'rum'"):
        _ = headrace.rum


def test_the_errors_are_those_of_the_program():
    errors = importlib.import_module("headrace.errors")
    made = [getattr(errors, name) for name in errors.__all__]
    assert HeadraceError in made
    assert [one for one in made if isinstance(one, type) and issubclass(one, Exception)]
    assert all(
        issubclass(one, HeadraceError) for one in made if isinstance(one, type) and issubclass(one, Exception)
    )
