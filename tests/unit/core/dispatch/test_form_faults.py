"""A step that its endpoints reject while they answer others: the run stops, and no call ends for it."""

from __future__ import annotations

from msgspec.structs import replace

from actors.core.errors import Blame, FailureKind
from tests.unit.support.dispatch_desk import Desk, call

OTHER = "evaluate:other"


def work(desk, seconds, verdicts, *, took_s=0.05, lasting_s=0.0):
    """Have attempts end for this long: each as `verdicts` says of its call, or late where it answers late."""
    until, ended, running = desk.now + seconds, getattr(desk, "ended", 0), []
    while desk.now < until:
        while ended < len(desk.attempts):
            attempt = desk.attempts[ended][1]
            if verdicts(attempt):
                running.append((desk.now + lasting_s, ended))
            else:
                desk.end(ended, FailureKind.MISCONFIGURED, blame=Blame.CONFIG, took_s=took_s)
            ended += 1
        while running and running[0][0] <= desk.now:
            desk.end(running.pop(0)[1], took_s=lasting_s or 0.05)
        desk.wait(0.2)
    desk.ended = ended


def offered(desk, *, steps, **more):
    for n in range(8):
        desk.offer(
            call(f"one{n}", task=f"t{n}"),
            *(replace(call(f"{step}{n}", task=f"t{n}", **more), form=step) for step in steps),
        )


def is_first_form(attempt):
    return attempt.form == "evaluate"


def test_a_step_that_its_endpoint_rejects_stops_the_run_though_another_step_is_answered():
    desk = Desk(slots=4)
    offered(desk, steps=[OTHER])
    work(desk, 6, is_first_form)

    stopped_by = desk.known.stopped_by
    assert stopped_by is not None
    assert stopped_by.kind is FailureKind.MISCONFIGURED
    assert stopped_by.message == f"{OTHER}: said the test"
    assert {key for key in desk.completions if key.startswith("one")} == {f"one{n}" for n in range(8)}
    assert not any(key.startswith(OTHER) for key in desk.completions), "they wait for `resume`"
    assert desk.known.endpoints[0].fault is None, "it answers the other step"


def test_a_step_that_one_of_its_endpoints_answers_does_not_stop_the_run():
    desk = Desk(slots=4, endpoints=("a", "b"))
    offered(desk, steps=[OTHER])
    work(desk, 20, lambda attempt: attempt.form == "evaluate" or attempt.endpoint == "b")

    assert desk.known.stopped_by is None
    assert len(desk.completions) == 16
    assert not any(done.error for done in desk.completions.values())


def test_a_step_is_judged_by_its_own_endpoints():
    desk = Desk(slots=4, endpoints=("a", "b"))
    offered(desk, steps=[OTHER], endpoints=("a",))
    work(desk, 6, lambda attempt: attempt.form == "evaluate")

    assert desk.known.stopped_by is not None


def test_a_call_of_a_step_that_is_answered_is_itself_the_cause():
    desk = Desk(slots=4)
    offered(desk, steps=[OTHER])
    work(desk, 20, lambda attempt: attempt.call_key != f"{OTHER}3")

    assert desk.known.stopped_by is None
    assert len(desk.completions) == 16
    assert desk.error(f"{OTHER}3").kind is FailureKind.PERMANENT


def test_forbidden_texts_do_not_stop_a_step_whose_answers_take_long():
    desk = Desk(slots=40)
    offered(desk, steps=[OTHER])
    desk.offer(*(call(f"more{n}") for n in range(40)))

    def is_allowed(attempt):
        return attempt.form == "evaluate" or int(attempt.call_key[-1]) >= 4

    work(desk, 1.0, lambda attempt: attempt.form == "evaluate")
    for _ in range(10):
        work(desk, 3.0, is_allowed, lasting_s=60.0)
        assert desk.known.stopped_by is None


def test_a_corrected_parameter_is_noticed():
    desk = Desk(slots=4)
    offered(desk, steps=[OTHER])
    work(desk, 6, is_first_form)
    work(desk, 60, lambda _: True)

    assert desk.known.stopped_by is None
    assert len(desk.completions) == 16
    assert not any(done.error for done in desk.completions.values())
