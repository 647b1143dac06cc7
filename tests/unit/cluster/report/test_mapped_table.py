"""A mapped table has the rows of its input, in order, with the answers and the cause of each gap."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from actors.core.errors import Blame, ConfigError, Failure, FailureKind
from actors.core.messages.tasks import ItemState, Task
from cluster.input.checked_tasks import InputChangedMeanwhileError
from cluster.report.item_columns import ItemColumn
from cluster.report.results import ResultWriter
from cluster.report.tables.columns import Layout, TableName
from cluster.report.tables.outputs import FileOutput
from cluster.report.tables.parquet_input import ParquetInput
from cluster.report.tables.targets import LocalPart, ResultsError
from tests.unit.support.tables import lines, publish, rated, row, settings


@pytest.fixture
def mapped(tmp_path):
    """Return a function that maps tasks with their reports to a file, and returns its path."""

    def write(target, rows, *, fields=None, **options):
        config = settings(fields=fields, sources=False)
        path = tmp_path / target
        with ResultWriter.for_rows(config, str(path), **options) as writer:
            writer.open()
            for ordinal, (task, one) in reversed([*enumerate(rows)]):
                writer.write(task, one, ordinal)
            publish(writer)
            assert writer.paths == (str(path),)
        return path

    return write


UNREACHABLE = Failure(FailureKind.TRANSIENT, Blame.ENDPOINT, "no answer within 30 s")
NULL = Failure(FailureKind.PERMANENT, Blame.TASK, "null in text")


def test_a_mapped_table_has_the_rows_of_the_input_and_says_why_an_answer_is_missing(mapped):
    rows = [
        (row(1, text="fine", n=1), rated()),
        (row(2, text="fine", n=1), rated(error=UNREACHABLE, state=ItemState.FAILED)),
        (row(3, text=None, n=2), rated(error=NULL, state=ItemState.SKIPPED)),
    ]
    assert lines(mapped("out.jsonl", rows)) == [
        {"text": "fine", "n": 1, "label": "good", "score": 0.5, "_error": None},
        {"text": "fine", "n": 1, "label": None, "score": None, "_error": "transient: no answer within 30 s"},
        {"text": None, "n": 2, "label": None, "score": None, "_error": "null in text"},
    ]


def test_a_mapped_table_has_types_that_do_not_depend_on_the_answers(mapped):
    table = pq.read_table(
        mapped("out.parquet", [(row(1, text="a"), rated(error=NULL, state=ItemState.SKIPPED))])
    )
    assert table.schema.field("label").type == pa.dictionary(pa.int32(), pa.string())
    assert table.schema.field("score").type == pa.float64()
    assert table.schema.field("_error").type == pa.string()
    full = pq.read_table(mapped("full.parquet", [(row(1, text="a"), rated())]))
    assert full.schema == table.schema
    assert full["_error"].null_count == 1


def test_the_key_is_a_column_where_the_input_has_it(mapped):
    task = Task("r-7", {"text": "a"})
    (line,) = lines(mapped("out.jsonl", [(task, rated("r-7"))]))
    assert [*line.items()][:2] == [("key", "r-7"), ("text", "a")]


def test_a_column_with_the_keys_stays_in_its_place_with_its_type(mapped):
    rows = [(Task("7", {"text": "a", "id": 7}), rated("7")), (Task("8", {"text": "b", "id": 8}), rated("8"))]
    for name in ("id", "key"):
        named = [(Task(task.key, {"text": "a", name: task.params["id"]}), one) for task, one in rows]
        (first, _) = lines(mapped("out.jsonl", named))
        assert [*first.items()][:2] == [("text", "a"), (name, 7)]
        assert "key" not in {*first} - {name}


def test_the_columns_of_the_input_come_in_its_order(mapped):
    rows = [(row(1, b=1, a=2), rated()), (row(2, a=3, c=4, b=5), rated())]
    path = mapped("out.jsonl", rows, input_columns=("b", "a", "c"))
    assert [[*line][:3] for line in lines(path)] == [["b", "a", "c"]] * 2


def test_cost_and_latency_are_columns_where_they_are_asked_for(mapped):
    (line,) = lines(mapped("out.jsonl", [(row(1, text="a"), rated())], extras=("cost", "latency")))
    assert [*line.items()][-3:] == [("_error", None), ("_cost_usd", 0.25), ("_latency_s", 1.5)]


def test_the_text_of_an_answer_is_a_column_where_it_is_asked_for(mapped):
    text = '```json\n{"label": "good", "score": 0.5}\n```'
    values = {"label": "good", "score": 0.5, "_raw": text}
    one = rated(values=values)
    two = replace(one, items=(replace(one.items[0], values={"a": values, "b": {"_raw": "x"}}),))
    rows = [
        (row(1, text="a"), one),
        (row(2, text="b"), two),
        (row(3, text="c"), rated()),
        (row(4, text="d"), rated(error=NULL, state=ItemState.SKIPPED)),
    ]
    found = [line["_raw"] for line in lines(mapped("out.jsonl", rows, extras=("raw",)))]
    assert (found[0], orjson.loads(found[1]), found[2:]) == (text, {"a": text, "b": "x"}, [None, None])


def test_a_parquet_input_keeps_its_types_and_its_metadata(mapped, tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.report.tables.spool._BATCH_TASKS", 3)
    monkeypatch.setattr("cluster.report.tables.parquet_input._BATCH_ROWS", 2)
    given = pa.table(
        {
            "day": pa.array(range(8), pa.date32()),
            "small": pa.array(range(8), pa.int8()),
            "tags": pa.array([["a"]] * 8, pa.list_(pa.string())),
        }
    ).replace_schema_metadata({"mine": "kept"})
    pq.write_table(given, tmp_path / "in.parquet")
    rows = [
        (row(number + 1, day=f"1970-01-0{number + 1}", small=number, tags=["a"]), rated())
        for number in range(8)
    ]
    path = mapped("out.parquet", rows, arrow_input=ParquetInput(tmp_path / "in.parquet"))
    table = pq.read_table(path)
    assert table.select(["day", "small", "tags"]).equals(given)
    assert table.schema.metadata[b"mine"] == b"kept"
    assert table.column_names == ["day", "small", "tags", "label", "score", "_error"]
    chosen = mapped(
        "sample.parquet",
        [rows[number] for number in (1, 4, 5)],
        arrow_input=ParquetInput(tmp_path / "in.parquet", frozenset({1, 4, 5})),
    )
    assert pq.read_table(chosen)["small"].to_pylist() == [1, 4, 5]


def test_a_parquet_table_keeps_columns_that_are_not_read(mapped, tmp_path):
    given = pa.table({"text": ["a"], "photo": [b"\xff"], "at": pa.array([1], pa.timestamp("ns"))})
    pq.write_table(given, tmp_path / "in.parquet")
    rows = [(row(1, text="a", photo=None, at="1970-01-01T00:00:00.000000001"), rated())]
    path = mapped("out.parquet", rows, arrow_input=ParquetInput(tmp_path / "in.parquet"))
    assert pq.read_table(path).select(["text", "photo", "at"]).equals(given)


def test_a_column_of_the_input_that_is_replaced_is_not_in_the_table(mapped, tmp_path):
    pq.write_table(pa.table({"score": ["old"], "n": pa.array([1], pa.int16())}), tmp_path / "in.parquet")
    given = ParquetInput(tmp_path / "in.parquet")
    rows = [(row(1, score="old", n=1), rated())]
    table = pq.read_table(mapped("out.parquet", rows, input_columns=("n",), arrow_input=given))
    assert table.to_pylist() == [{"n": 1, "label": "good", "score": 0.5, "_error": None}]
    assert table.schema.field("n").type == pa.int16()


@pytest.mark.parametrize("form", ["csv", "parquet", "jsonl"])
def test_the_error_and_the_extras_of_an_earlier_run_are_replaced(mapped, tmp_path, form):
    pq.write_table(pa.table({"n": [1], "_error": ["old"], "_cost_usd": [7.0]}), tmp_path / "in.parquet")
    given = ParquetInput(tmp_path / "in.parquet") if form == "parquet" else None
    rows = [(row(1, n=1, _error="old", _cost_usd=7.0), rated())]
    path = mapped(f"out.{form}", rows, extras=("cost",), arrow_input=given)
    if form == "parquet":
        assert pq.read_table(path).column_names == ["n", "label", "score", "_error", "_cost_usd"]
    elif form == "csv":
        assert path.read_text().splitlines()[0] == '"n","label","score","_error","_cost_usd"'
    assert "old" not in path.read_bytes().decode("utf-8", "replace")


def test_an_input_that_became_shorter_is_an_error_and_no_table(mapped, tmp_path):
    pq.write_table(pa.table({"n": [1]}), tmp_path / "in.parquet")
    rows = [(row(number + 1, n=number), rated()) for number in range(2)]
    with pytest.raises(InputChangedMeanwhileError, match="it has fewer rows"):
        mapped("out.parquet", rows, arrow_input=ParquetInput(tmp_path / "in.parquet"))
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"n": [9, 0, 1], "text": ["new", "a", "b"]}, "row 1 of those that were asked differs"),
        ({"n": [0, 2], "text": ["a", "b"]}, "row 2 of those that were asked differs"),
        ({"n": [0, 1], "text": [["a"], ["b"]]}, "row 1 of those that were asked differs"),
    ],
)
def test_no_answer_stands_beside_a_row_of_an_input_that_was_replaced(mapped, tmp_path, now, words):
    pq.write_table(pa.table(now), tmp_path / "in.parquet")
    rows = [(row(number + 1, n=number, text=text), rated()) for number, text in enumerate("ab")]
    with pytest.raises(InputChangedMeanwhileError, match=words):
        mapped("out.parquet", rows, arrow_input=ParquetInput(tmp_path / "in.parquet"))
    assert [*tmp_path.iterdir()] == [tmp_path / "in.parquet"]


def test_columns_that_change_between_the_readings_of_a_table_are_an_error(mapped, tmp_path):
    class Replaced(ParquetInput):
        def batches(self):
            pq.write_table(pa.table({"n": pa.array([0], pa.int8())}), tmp_path / "in.parquet")
            return super().batches()

    pq.write_table(pa.table({"n": [0]}), tmp_path / "in.parquet")
    with pytest.raises(InputChangedMeanwhileError, match="it has other columns"):
        mapped("out.parquet", [(row(1, n=0), rated())], arrow_input=Replaced(tmp_path / "in.parquet"))


def test_an_input_that_is_gone_is_an_error_that_names_it(mapped, tmp_path):
    gone = tmp_path / "in.parquet"
    with pytest.raises(InputChangedMeanwhileError, match=r"in\.parquet: .* it cannot be read again"):
        mapped("out.parquet", [(row(1, n=1), rated())], arrow_input=ParquetInput(gone))


def test_nested_answers_are_columns_in_parquet_and_json_in_csv(tmp_path):
    text = SimpleNamespace(type="string", choices=None)
    who = {"name": text, "age": SimpleNamespace(type="integer")}
    specs = {
        "when": SimpleNamespace(type="date"),
        "tags": SimpleNamespace(type="array", items=SimpleNamespace(type="string", choices=["x", "y"])),
        "who": SimpleNamespace(type="object", fields=who),
    }
    layout = Layout(True, tuple(ItemColumn(name, "evaluate", name, spec) for name, spec in specs.items()))
    files = [FileOutput(TableName.ITEMS, str(tmp_path / name)) for name in ("out.parquet", "out.csv")]
    values = {"when": "2026-11-30", "tags": ["x"], "who": {"name": "Ann", "age": 7}}
    with ResultWriter(layout, files, directory=tmp_path) as writer:
        writer.open()
        writer.write(row(1, text="=a"), rated(values=values), 0)
        publish(writer)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.field("when").type == pa.date32()
    assert table.schema.field("tags").type == pa.list_(pa.string())
    assert table["who"].to_pylist() == [{"name": "Ann", "age": 7}]
    assert (tmp_path / "out.csv").read_bytes().decode() == (
        '"text","when","tags","who","_error"\r\n'
        '"\'=a","2026-11-30","[""x""]","{""name"":""Ann"",""age"":7}",\r\n'
    )


def test_an_interrupted_map_writes_no_table_and_keeps_that_of_before(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("before")
    with ResultWriter.for_rows(settings(sources=False), str(target)) as writer:
        writer.open()
        writer.write(row(1, text="a"), rated(), 0)
        writer.finish(is_whole=False)
        writer.publish()
        assert writer.paths == ()
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize("has_store", [True, False])
def test_a_map_without_a_target_is_read_from_the_writer(tmp_path, monkeypatch, has_store):
    """Its reports wait beside the store: the directory of temporary files may be in memory."""
    spools = []
    made = tempfile.TemporaryFile

    def noted(*args, **kwargs):
        spools.append(kwargs["dir"])
        return made(*args, **kwargs)

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    place = tmp_path / "store"
    if has_store:
        place.mkdir()
    store = {"kind": "sqlite", "path": str(place / "state.db")}
    with ResultWriter.for_rows(settings(sources=False, store=store), None) as writer:
        writer.open()
        writer.write(row(2, text="b"), rated(), 1)
        writer.write(row(1, text="a"), rated(error=NULL, state=ItemState.SKIPPED), 0)
        publish(writer)
        assert [each["text"] for each in writer.rows(TableName.ITEMS)] == ["a", "b"]
        answers = writer.answers()
    assert answers.column_names == ["label", "score", "_error"]
    assert spools == [place if has_store else None]
    assert answers["label"].to_pylist() == [None, "good"]
    assert answers["label"].chunk(0).dictionary.to_pylist() == ["good", "bad"]


def test_a_suffix_that_names_no_format_is_an_error_before_the_run():
    with pytest.raises(ConfigError, match=r"out\.xlsx: the suffix names no format; use one of \.jsonl"):
        ResultWriter.for_rows(settings(sources=False), "out.xlsx")


def test_a_directory_that_does_not_exist_is_an_error_before_the_run(tmp_path):
    with (
        ResultWriter.for_rows(settings(sources=False), str(tmp_path / "no" / "out.csv")) as writer,
        pytest.raises(ResultsError, match="the directory does not exist; make it"),
    ):
        writer.open()


def test_what_a_killed_writer_of_the_run_left_beside_the_table_is_removed(mapped, tmp_path):
    for killed in ("run-1", "run-2"):
        LocalPart(tmp_path / "out[1].csv", killed).finish()
    assert len(list(tmp_path.iterdir())) == 2
    mapped("out[1].csv", [(row(1, text="a"), rated())], run_id="run-1")
    left = [path.name for path in tmp_path.iterdir() if path.suffix == ".part"]
    assert len(left) == 1, "another run may be writing its part"


def test_a_symbolic_link_keeps_leading_to_the_table(mapped, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out.csv").symlink_to(Path("disk", "real.csv"))
    mapped("out.csv", [(row(1, text="a"), rated())])
    assert (tmp_path / "out.csv").is_symlink()
    assert (tmp_path / "disk" / "real.csv").read_text().startswith('"text"')
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.csv"]
