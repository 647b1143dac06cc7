"""A run's id becomes a directory, a file name and a job's name: none may lead elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from actors.core.errors import InvalidRunIdError
from actors.core.run_id import check_run_id
from cluster.records.run_journal import RunOrigin
from cluster.report.results import ResultWriter
from cluster.run.launch import BatchRequest
from tests.unit.support.journal_desk import Desk
from tests.unit.support.tables import settings

BAD = ["", ".", "..", "../x", "a/../b", "a/b", "/a", "a\\b", "a~2", "a b", "-a", ".a", "ä", "a\n", "a" * 101]


@pytest.mark.parametrize("run_id", BAD)
def test_an_id_that_could_lead_elsewhere_is_refused(run_id):
    with pytest.raises(InvalidRunIdError, match="is not a valid run id"):
        check_run_id(run_id)


@pytest.mark.parametrize("run_id", ["w1-20261124.a_b", "a..b", "0", "a" * 100])
def test_other_ids_are_taken(run_id):
    assert check_run_id(run_id) == run_id


def test_an_endless_id_is_shown_in_part():
    with pytest.raises(InvalidRunIdError) as caught:
        check_run_id("/" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("run_id", BAD)
def test_the_journal_begins_no_run_of_such_an_id_whatever_door_it_came_through(run_id):
    desk = Desk()
    assert isinstance(desk.open(run_id), InvalidRunIdError)
    assert desk.store.kinds() == {"v"}


ELSEWHERE = ["", ".", "..", "../x", "a/../b", "a/b", "/a", "a\\b", "a\0"]


@pytest.mark.parametrize("run_id", ["my run", "a~2", ".a", "ä", "a" * 101])
def test_a_run_that_an_older_version_began_under_another_id_is_gone_on_with(run_id):
    origin = RunOrigin({})
    config = settings(tasks={"kind": "range", "count": 1})
    assert BatchRequest(config, run_id, origin, live=False, has_begun=True).run_id == run_id


@pytest.mark.parametrize("run_id", ELSEWHERE)
def test_no_file_of_a_run_is_made_elsewhere_whatever_its_id(run_id, tmp_path):
    with pytest.raises(InvalidRunIdError, match="cannot be used as the name of a directory"):
        BatchRequest(None, run_id, None, live=False, has_begun=True)
    with pytest.raises(InvalidRunIdError, match="cannot be used as the name of a directory"):
        ResultWriter.for_run(SimpleNamespace(output=SimpleNamespace(directory=tmp_path)), run_id)


def test_a_driver_refuses_such_an_id_before_it_does_anything():
    with pytest.raises(InvalidRunIdError):
        BatchRequest(None, "../x", None, live=False)
