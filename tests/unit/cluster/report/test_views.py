"""What commands say of runs and tasks, to programs and to people."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from actors.core.errors import FailureKind
from actors.core.messages.journal import CloseRun, Finish, OpenRun
from actors.core.messages.tasks import DimensionResult, SourceOutcome, TaskState
from actors.core.messages.values import Usage
from actors.core.metrics.history import History
from cluster.records.reading import HEARTBEAT_S, in_flight, newest_runs, silent_runs, with_causes
from cluster.records.records import found_run
from cluster.records.run_journal import RunOrigin
from cluster.report.views import (
    age_text,
    run_document,
    run_lines,
    runs_lines,
    state_text,
    usage_text,
)
from tests.unit.support.journal_desk import NOW, RUN, Desk, intent, outcome, report

EVIL = "\x1b[2Jevil\nforged line"


@pytest.fixture
def desk():
    desk = Desk(keep="calls")
    desk.open()
    return desk


def whole(task, state=TaskState.SUCCEEDED, errors=()):
    results = (DimensionResult("quality", 0.5, 0.4, 0.6, 4, "Fine.", ("wire-1",)),)
    sources = {"wire": SourceOutcome(2), "notes": SourceOutcome(0, "transient: gone")}
    return replace(report(task, state), dimensions=results, sources=sources, errors=errors)


# ---- runs ------------------------------------------------------------------------------------------------


def test_runs_come_newest_first_and_the_rest_is_counted():
    desk = Desk()
    for run_id in ("a", "c", "b"):  # each a second later
        desk.open(run_id)
    newest, more = newest_runs(desk.store, 2)
    assert [run.run_id for run in newest] == ["b", "c"]
    assert more == 1


def test_the_status_of_a_run_names_the_causes_in_their_exact_words(desk):
    failures = [{"tasks": 2, "cause": "connection to port 8001 refused", "others": []}]
    desk.tell(CloseRun(RUN, "succeeded", {"failures": failures}))
    run = found_run(desk.store, RUN)
    assert "cause    2 tasks: connection to port 8001 refused" in list(run_lines(run, NOW, silent=False))
    assert run_document(run, silent=False)["failures"] == failures


@pytest.mark.parametrize("ended_as", ["", "interrupted"])
def test_the_status_of_a_run_that_goes_on_names_the_causes_of_its_stored_reports(desk, ended_as):
    desk.accept("t1", "t2", "t3", "t4")
    desk.tell_all(
        Finish(RUN, whole("t1", TaskState.FAILED, ("HTTP 500: boom",))),
        Finish(RUN, whole("t2", TaskState.PARTIAL, ("HTTP 500: boom", "no connection"))),
        Finish(RUN, whole("t3")),
    )
    if ended_as:
        desk.tell(CloseRun(RUN, ended_as, {"failures": []}))  # of the process that was interrupted
    run = with_causes(desk.store, found_run(desk.store, RUN))
    assert "cause    2 tasks: HTTP 500: boom" in list(run_lines(run, NOW, silent=True))
    assert run_document(run, silent=True)["failures"] == [
        {"tasks": 2, "cause": "HTTP 500: boom", "others": []},
        {"tasks": 1, "cause": "no connection", "others": []},
    ]


def test_the_causes_of_a_finished_run_are_those_of_its_summary(desk):
    desk.accept("t1")
    desk.tell(Finish(RUN, whole("t1", TaskState.FAILED, ("HTTP 500: boom",))))
    failures = [{"tasks": 1, "cause": "HTTP 500: boom", "others": ["HTTP 500: other"]}]
    desk.tell(CloseRun(RUN, "failed", {"failures": failures}))
    run = with_causes(desk.store, found_run(desk.store, RUN))
    assert run.summary["failures"] == failures


def test_a_run_that_goes_on_counts_the_tasks_of_its_input(desk):
    desk.accept("t1", "t2")
    desk.tell(Finish(RUN, whole("t1")))
    run = replace(found_run(desk.store, RUN), origin={"input": {"tasks": 2_000, "digest": "d"}})
    assert " 1/2,000 " in list(runs_lines([run], frozenset(), NOW))[1]
    text = "\n".join(run_lines(run, NOW, silent=False))
    assert "tasks    2 accepted of 2,000 · 1 succeeded · 1,999 not ended" in text
    stopped = replace(run, state="failed", summary={"stopped_by": "main refuses the key"})
    assert state_text(stopped, silent=False).startswith("failed with 1,999 tasks not ended")
    ended = replace(run, state="succeeded")  # rows were removed before the run was resumed
    assert " 1/2 " in list(runs_lines([ended], frozenset(), NOW))[1]


def test_a_run_is_silent_only_where_its_heart_stands_still_while_one_looks():
    desk = Desk()
    for run_id in ("alive", "silent", "closed"):
        desk.open(run_id)
    desk.tell(CloseRun("closed", "succeeded"))
    other = Desk(desk.store, owner="host-b")
    other.open("other")
    now = 0.0

    def pause(seconds):
        nonlocal now
        now += seconds
        if now > 1.0:
            other.beat()

    runs, _ = newest_runs(desk.store, 10)
    assert silent_runs(desk.store, runs, pause=pause, clock=lambda: now) == {"alive", "silent"}
    assert HEARTBEAT_S <= now < HEARTBEAT_S + 0.2
    now = 0.0
    assert silent_runs(desk.store, [found_run(desk.store, "closed")], pause=pause, clock=lambda: now) == set()
    assert now == 0.0  # nothing to wait for


def test_calls_of_a_live_run_are_in_flight_and_those_of_a_silent_one_are_in_doubt(desk):
    desk.accept("t1", "t2")
    desk.tell_all(intent(1), outcome(1, kind=FailureKind.IN_DOUBT), intent(2, number=2), intent(3, task="t2"))
    run = found_run(desk.store, RUN)
    for silent, flying, doubtful in ((frozenset(), 2, 1), ({RUN}, 0, 3)):
        known = {"silent": bool(silent), "in_flight": in_flight(desk.store, run, silent)}
        calls = run_document(run, **known)["calls"]
        assert (calls["in_flight"], calls["in_doubt"]) == (flying, doubtful)
        (line,) = [line for line in run_lines(run, NOW, **known) if line.startswith("calls")]
        assert ("2 in flight · 1 in doubt" in line, "3 in doubt" in line) == (not silent, bool(silent))
    desk.tell(CloseRun(RUN, "interrupted"))
    assert in_flight(desk.store, found_run(desk.store, RUN), frozenset()) == 0


def test_a_run_as_a_document_counts_what_the_store_has(desk):
    desk.accept("t1", "t2")
    desk.tell_all(intent(1), outcome(1), Finish(RUN, whole("t1")), intent(2, task="t2"))
    document = json.loads(json.dumps(run_document(found_run(desk.store, RUN), silent=True)))
    assert document["state"] == "running"
    assert document["owner_silent"]
    assert document["tasks"] == {"accepted": 2, "succeeded": 1, "partial": 0, "failed": 0, "cancelled": 0}
    assert (document["calls"]["billed"], document["calls"]["in_doubt"]) == (1, 1)
    assert document["tokens"] == Usage(10, 5).kinds()
    assert document["cost_usd"] == 0.25


def test_the_state_comes_with_the_command_that_helps(desk):
    desk.accept("t1", "t2")
    assert state_text(found_run(desk.store, RUN), silent=False) == "running"
    options = " --config c.yaml"
    silent = state_text(found_run(desk.store, RUN), silent=True, options=options)
    assert silent.endswith("may have ended; continue with: headrace resume r1 --config c.yaml)")
    desk.tell_all(Finish(RUN, whole("t1", TaskState.FAILED)), CloseRun(RUN, "interrupted"))
    assert "headrace resume r1" in state_text(found_run(desk.store, RUN), silent=False)
    desk.open()
    desk.tell_all(Finish(RUN, whole("t2")), CloseRun(RUN, "partial"))
    assert "headrace retry r1 --failed" in state_text(found_run(desk.store, RUN), silent=False)


@pytest.mark.parametrize(
    ("words", "continued", "repeated"),
    [
        (("map", "a b.csv", "Rate {text}"), "headrace map 'a b.csv' 'Rate {text}'", " --retry-failed"),
        ((), "the same call of headrace.map", " with retry_failed=True"),
    ],
)
def test_a_run_of_map_is_continued_by_what_began_it(words, continued, repeated):
    desk = Desk()
    origin = RunOrigin({}, command=words, asked="digest").stored()
    desk.tell(OpenRun(RUN, "map-rows", {}, origin))
    desk.accept("t1")
    desk.tell(CloseRun(RUN, "interrupted"))
    assert state_text(found_run(desk.store, RUN), silent=False).endswith(f"(continue with: {continued})")
    desk.tell_all(OpenRun(RUN, "map-rows", {}, origin), Finish(RUN, whole("t1", TaskState.FAILED)))
    desk.tell(CloseRun(RUN, "partial"))
    text = state_text(found_run(desk.store, RUN), silent=False)
    assert text == f"partial (repeat the failed tasks with: {continued}{repeated})"


def test_the_sample_of_an_estimate_is_not_taken_for_the_run_of_all():
    desk = Desk()
    sample = {"size": 1, "seed": 0, "places": {"t1": 4}}
    opening = OpenRun(RUN, "rows", {}, RunOrigin({}, sample=sample).stored())
    desk.tell(opening)
    desk.accept("t1")
    desk.tell_all(Finish(RUN, whole("t1")), CloseRun(RUN, "succeeded"))
    text = state_text(found_run(desk.store, RUN), silent=False)
    assert text == "succeeded as a random sample of 1 task; the run of all begins with it"
    desk.tell(opening)
    desk.accept("t2")
    desk.tell_all(Finish(RUN, whole("t2")), CloseRun(RUN, "succeeded"))
    assert state_text(found_run(desk.store, RUN), silent=False) == "succeeded"


def test_the_pauses_of_a_run_are_not_in_its_time(desk):
    desk.tell(CloseRun(RUN, "succeeded"))
    run = replace(found_run(desk.store, RUN), began_at=NOW - 75, ended_at=NOW)
    for active_s, shown in (
        ((2.0, 1.5), "at work for 3.5 s"),
        ((40.0, 30.0), "1:15 in all"),
        ((), "1:15 in all"),
    ):
        history = History((0.0, 70.0), (2.0, 71.5), active_s)
        (line,) = [each for each in run_lines(run, NOW, silent=False, history=history) if "started" in each]
        assert line.endswith(shown)


def test_skipped_rows_are_no_defects_that_a_retry_mends(desk):
    desk.accept("t1", "t2")
    skipped = [{"tasks": 1, "cause": "null in my text", "others": [], "skipped": True}]
    desk.tell_all(
        Finish(RUN, whole("t1", TaskState.PARTIAL)),
        Finish(RUN, whole("t2")),
        CloseRun(RUN, "partial", {"failures": skipped}),
    )
    lines = list(run_lines(found_run(desk.store, RUN), NOW, silent=False))
    assert "state    partial" in lines
    assert "tasks    2 accepted · 1 succeeded · 1 skipped · 0 not ended" in lines
    assert "skipped  1: null in my text; {my text?} asks about them too" in lines


def test_partial_tasks_and_tasks_that_have_not_ended_are_given_their_command(desk):
    desk.accept("t1", "t2", "t3")
    desk.tell_all(Finish(RUN, whole("t1", TaskState.PARTIAL)), CloseRun(RUN, "failed"))
    text = state_text(found_run(desk.store, RUN), silent=False)
    assert text.startswith("failed with 2 tasks not ended (continue with: headrace resume r1; ")
    assert text.endswith("repeat the partial tasks with: headrace retry r1 --partial)")
    desk.open()
    desk.tell_all(
        Finish(RUN, whole("t2", TaskState.FAILED)), Finish(RUN, whole("t3")), CloseRun(RUN, "partial")
    )
    text = state_text(found_run(desk.store, RUN), silent=False, options=" --config c.yaml")
    assert "with: headrace retry r1 --failed --partial --config c.yaml)" in text


def test_a_run_that_was_stopped_before_its_first_task_can_be_continued(desk):
    desk.tell(CloseRun(RUN, "failed", {"stopped_by": "main refuses the key"}))
    assert state_text(found_run(desk.store, RUN), silent=False).startswith("failed (continue with: ")


def test_the_cause_of_a_stop_before_the_first_task_is_not_introduced_twice(desk):
    desk.tell(CloseRun(RUN, "failed", {"stopped_by": "no task was started:\nendpoint main refuses the key"}))
    [line] = [each for each in run_lines(found_run(desk.store, RUN), 0.0, silent=False) if "refuses" in each]
    assert line == "stopped  no task was started: endpoint main refuses the key"


def test_a_run_that_was_stopped_says_why_in_every_view(desk):
    desk.accept("t1")
    desk.tell(CloseRun(RUN, "failed", {"stopped_by": f"main refuses the key {EVIL}"}))
    run = found_run(desk.store, RUN)
    assert run_document(run, silent=False)["stopped_by"] == f"main refuses the key {EVIL}"
    for lines in (list(run_lines(run, NOW, silent=False)), list(runs_lines([run], frozenset(), NOW))):
        (line,) = [line for line in lines if "main refuses the key" in line]
        assert "stopped" in line
        assert "\x1b" not in line
        assert "\n" not in line
    desk.open()
    assert run_document(found_run(desk.store, RUN), silent=False)["stopped_by"] is None


def test_lines_about_runs_align_and_say_what_is_doubtful(desk):
    desk.accept("t1")
    desk.tell_all(intent(1), outcome(1), Finish(RUN, whole("t1")))
    runs, _ = newest_runs(desk.store, 10)
    header, row, note = runs_lines(runs, frozenset({RUN}), NOW + 7200)
    assert row.split() == ["r1", "running?", "1/1", "$0.2500", "1", "h"]
    assert len(header) == len(row)
    assert "status RUN_ID" in note
    told = "\n".join(run_lines(runs[0], NOW + 7200, silent=False))
    assert "1 accepted · 1 succeeded · 0 not ended" in told
    assert "$0.2500 · 10 tokens in · 5 out" in told


def test_the_cost_of_answers_without_a_price_is_unknown(desk):
    desk.accept("t1")
    desk.tell_all(intent(1), outcome(1, usage=Usage(10, 5)), Finish(RUN, whole("t1")))
    run = replace(found_run(desk.store, RUN), origin=RunOrigin({}, priced=False).stored())
    assert "cost     unknown (no price is known; 10 tokens in, 5 out)" in run_lines(run, NOW, silent=False)
    assert "unknown" in list(runs_lines([run], frozenset(), NOW))[1]
    assert run_document(run, silent=False)["priced"] is False
    assert usage_text(Usage(10, 5, 0.25), is_priced=False) == (
        "at least $0.2500 (an endpoint has no price; 10 tokens in, 5 out)"
    )
    assert usage_text(Usage(), is_priced=False) == "$0.00 · 0 tokens in · 0 out"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_an_age_is_told_in_its_largest_unit(seconds, text):
    assert age_text(seconds) == text
