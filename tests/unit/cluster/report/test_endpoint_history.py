"""`status` names what slowed a run down, a line for each endpoint."""

from __future__ import annotations

from actors.core.metrics.history import EndpointReading, History, HistoryRecorder
from cluster.report.endpoint_history import endpoint_documents, endpoint_lines


def history(names=("main",), **end):
    recorder = HistoryRecorder()
    for second, limit, queued in ((0, 16, 0), (1, 64, 900), (2, 8, 40), (3, 12, 0)):
        readings = [
            EndpointReading(name, 400 * second, limit=limit, in_flight=limit, queued=queued, **end)
            for name in names
        ]
        recorder.add(float(second), 1e9 + second, readings)
    return recorder.history()


def test_a_line_has_the_range_of_the_limit_and_what_was_not_answered():
    known = history(refused=1_312, cuts=9, in_doubt=2)
    (line,) = endpoint_lines(known)
    head, _, counts = line.partition(" · ")
    assert head == "endpoint main: limit 8 (8 to 64)"
    assert counts == ("1,200 answered · 1,312 refused · 9 cuts of the limit · 2 in doubt · up to 900 queued")
    (document,) = endpoint_documents(known)
    assert document["limit"] == {"last": 8, "least": 8, "most": 64}
    assert (document["answered"], document["failed"], document["most_queued"]) == (1_200, 0, 900)


def test_many_endpoints_are_cut_short_and_one_that_was_not_asked_is_left_out():
    lines = list(endpoint_lines(history([f"e{index}" for index in range(7)])))
    assert len(lines) == 6
    assert lines[-1] == "endpoint and 2 more"
    idle = HistoryRecorder()
    idle.add(0.0, 1e9, [EndpointReading("idle", limit=16)])
    for known in (None, History(), idle.history()):
        assert list(endpoint_lines(known)) == []
        assert endpoint_documents(known) == []
