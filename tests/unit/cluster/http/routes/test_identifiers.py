"""Identifiers of tasks, and cursors."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.http.guard.problems import ApiProblem
from cluster.http.routes.identifiers import after_of, cursor_of, id_of, key_of

keys = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=512)


@given(keys)
@example("../../etc/passwd")
@example("a/b?c#d")
@example("..")
@example("~YQ")
@example("\U0010ffff" * 512)
def test_every_key_has_an_identifier_that_is_safe_in_an_address_and_leads_back(key):
    assert re.fullmatch(r"~?[A-Za-z0-9_-][A-Za-z0-9._-]*", id_of(key))
    assert key_of(id_of(key)) == key


def test_a_plain_key_is_its_own_identifier():
    assert id_of("review-1.a_B") == "review-1.a_B"


@pytest.mark.parametrize(
    "identifier", ["", ".", "..", "a/b", "~", "~!", "~YQ", "~YQ==", "~_w", "a b", "~" + "A" * 9000]
)
def test_what_is_no_identifier_leads_nowhere(identifier):
    assert key_of(identifier) is None


@given(st.text(st.characters(exclude_categories=("Cs",))), st.integers(0, 2**63 - 1))
def test_a_cursor_goes_on_where_it_was_given(scope, after):
    assert after_of(scope, cursor_of(scope, after)) == after


@pytest.mark.parametrize("cursor", ["", "x", "AAAAAAAAAAAAAAAA", "é", "A" * 65, cursor_of("run/failed", 3)])
def test_a_cursor_that_was_not_given_for_this_list_is_refused(cursor):
    with pytest.raises(ApiProblem) as caught:
        after_of("run/", cursor)
    assert caught.value.status == 400
