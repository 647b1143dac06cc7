"""Sinks are plug-ins that receive the rows of each table. Only the owner of a run makes the rows visible."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import SimpleNamespace

import pytest

from actors.core.errors import ConfigError
from actors.runtime import plugins
from cluster.report.results import ResultWriter
from cluster.report.tables.targets import ResultsError
from tests.unit.support.tables import rated, row, settings


class RecordingSink:
    """Keeps what it is asked to do; `fails` names a method that raises."""

    made: list[RecordingSink]

    def __init__(self, options):
        if "url" not in options:
            raise ValueError("options needs a url")
        self.fails = options.get("fails")
        self.did: list[object] = []
        self.made.append(self)

    def _do(self, what, *more):
        if what == self.fails:
            raise OSError("the queue is full")
        self.did.append((what, *more))

    def open(self, table, columns):
        self._do("open", table, [column.name for column in columns])

    def write(self, rows):
        self._do("write", [each["text"] for each in rows])

    def finish(self):
        self._do("finish")

    def discard(self):
        self._do("discard")


@pytest.fixture
def made(monkeypatch):
    """Return the sinks that were made. One package offers the kind `queue`."""
    RecordingSink.made = []
    points = EntryPoints([EntryPoint("queue", "acme_queue:Sink", "headrace.sinks")])
    monkeypatch.setattr(plugins, "entry_points", points.select)
    monkeypatch.setitem(sys.modules, "acme_queue", SimpleNamespace(Sink=RecordingSink))
    return RecordingSink.made


def writer_to(tmp_path, **options) -> ResultWriter:
    config = settings(
        {"directory": str(tmp_path), "sinks": [{"kind": "queue", "options": {"url": "q", **options}}]},
        sources=False,
    )
    return ResultWriter.for_run(config, "r")


def publish(writer: ResultWriter) -> None:
    writer.finish()
    writer.publish()


def test_a_sink_receives_the_rows_in_order_and_is_finished_when_the_run_is_published(tmp_path, made):
    with writer_to(tmp_path) as writer:
        writer.open()
        for ordinal in (1, 0):
            writer.write(row(ordinal + 1, text=f"t{ordinal}"), rated(), ordinal)
        writer.finish()
        (sink,) = made
        assert sink.did == [
            ("open", "items", ["text", "label", "score", "_error"]),
            ("write", ["t0", "t1"]),
        ]
        writer.publish()
    assert sink.did[2:] == [("finish",)]


def test_a_writer_that_does_not_publish_discards_the_rows_of_its_sinks(tmp_path, made):
    with writer_to(tmp_path) as writer:
        writer.open()
    assert made[0].did == [("discard",)]


@pytest.mark.parametrize("method", ["open", "write", "finish"])
def test_a_sink_that_fails_ends_the_run_with_its_name_and_its_words(tmp_path, made, method):
    with writer_to(tmp_path, fails=method) as writer:
        writer.open()
        writer.write(row(1, text="a"), rated(), 0)
        with pytest.raises(ResultsError, match="sink queue: the queue is full"):
            publish(writer)


@pytest.mark.parametrize(
    ("settings_of", "message"),
    [
        ({"kind": "kafka"}, "the kind 'kafka' to headrace.sinks; installed packages add queue"),
        ({"kind": "queue"}, "output.sinks: queue: options needs a url"),
    ],
)
def test_a_sink_that_cannot_be_made_is_an_error_of_the_configuration(tmp_path, made, settings_of, message):
    config = settings({"directory": str(tmp_path), "sinks": [settings_of]})
    with pytest.raises(ConfigError) as caught:
        ResultWriter.for_run(config, "r")
    assert message in str(caught.value)
