"""The flags of ``map``: what they make of the job, and which mistakes are found before anything is asked."""

from __future__ import annotations

import datetime as dt
import sys
from types import SimpleNamespace

import orjson
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from actors.core.errors import ConfigError, HeadraceError
from actors.core.messages.journal import Spent, TaskTally
from actors.core.messages.values import CallCounts, Usage
from cluster.commands.main import app
from cluster.commands.map.arguments import seconds_until, shown_command
from cluster.commands.map.output import fitted, spent_now, without_answer
from cluster.report.tables.targets import shown
from cluster.run.map import run as runner

LABEL = ("-c", "label: yes | no")


SCHEMA = """{"type": "object",
    "properties": {"label": {"enum": ["yes", "no"]}, "score": {"type": "number"}}}"""


class LaunchedError(HeadraceError):
    """The job reached the engine."""


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(f"r{n},text {n}\n" for n in range(40)))
    return tmp_path


@pytest.fixture
def launched(table, monkeypatch):
    """Return the function that runs a command line up to the engine, and returns the run for it."""
    runs = []

    def launch(run, *_):
        runs.append(run)
        raise LaunchedError("launched")

    monkeypatch.setattr(runner, "launch", launch)

    def run_of(*words, data="rows.csv"):
        monkeypatch.setattr(sys, "argv", ["headrace", "map", data, *words])
        ended = CliRunner().invoke(app, ["map", data, *words])
        assert runs, ended.stderr
        assert ended.stderr.splitlines()[0].startswith(f"{data}: ")
        return runs.pop()

    return run_of


def refused(*words, data="rows.csv") -> str:
    ended = CliRunner().invoke(app, ["map", data, *words])
    assert ended.exit_code == 2, ended.stderr
    return ended.stderr


def test_the_prompt_may_be_an_argument_an_option_or_a_file(launched, table):
    (table / "prompt.txt").write_text("Rate {text}\n")
    (table / "system.txt").write_text("You are strict.")
    ways = (["Rate {text}"], ["-p", "Rate {text}"], ["--prompt", "@prompt.txt"])
    runs = [launched(*way, *LABEL, "-m", "sim", "--system", "@system.txt") for way in ways]
    assert {run.config.steps[0].prompt for run in runs} == {"Rate {text}"}
    assert {run.config.steps[0].system for run in runs} == {"You are strict."}
    assert len({run.run_id for run in runs}) == 1
    assert launched("@@{text}", *LABEL, "-m", "sim").config.steps[0].prompt == "@{text}"


def test_an_answer_has_the_bound_and_the_parameters_that_are_given(launched):
    more = ("--max-tokens", "900", "--param", "temperature=0", "--param", "stop=[a, b]")
    step = launched("Rate {text}", *LABEL, "-m", "sim", *more).config.steps[0]
    assert (step.max_tokens, step.params) == (900, {"temperature": 0, "stop": ["a", "b"]})


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("columns.txt", "# what is asked\nlabel: yes | no\n\nscore?: 0..1 = how sure\n"),
        ("columns.json", SCHEMA),
    ],
)
def test_columns_may_come_from_a_file(launched, table, name, content):
    (table / name).write_text(content)
    output = launched("Rate {text}", "--columns", name, "-m", "sim").config.steps[0].output
    assert [*output] == ["label", "score"]
    assert [*output["label"].choices] == ["yes", "no"]


def test_new_columns_may_have_a_prefix_or_replace_old_ones(launched):
    run = launched("Rate {text}", *LABEL, "-c", "due?: date", "--prefix", "ai_", "-m", "sim")
    assert [*run.config.steps[0].output] == ["ai_label", "ai_due"]
    run = launched("Rate {text}", "-c", "text: str", "--replace", "-m", "sim")
    assert run.job.replaces


def test_rows_may_be_limited_or_sampled_and_named_by_a_column(launched):
    assert launched("{text}", *LABEL, "-m", "sim", "--limit", "3").count == 3
    sampled = launched("{text}", *LABEL, "-m", "sim", "--sample", "7", "--seed", "1", "--key", "id")
    assert len({task.key for task in sampled.tasks()} & {f"r{n}" for n in range(40)}) == 7


def test_a_table_as_excel_writes_it_is_read_and_saved_with_its_form(launched, table):
    (table / "excel.csv").write_bytes("id;text\r\n1;Größe\r\n".encode("cp1252"))
    form = ("--delimiter", ";", "--encoding", "cp1252")
    words = ("Rate {text}", *LABEL, *form, "-m", "sim")
    (task,) = launched(*words, "--save", "job.yaml", data="excel.csv").tasks()
    assert task.params == {"id": "1", "text": "Größe"}
    shown = CliRunner().invoke(app, ["check", "job.yaml", "--show-prompt", "1"])
    assert "Rate Größe" in shown.stdout, shown.stderr
    counted = CliRunner().invoke(app, ["estimate", "excel.csv", *words])
    assert counted.stdout.startswith("1 row"), counted.stderr
    assert CliRunner().invoke(app, ["init", "excel.csv", *form, "-o", "draft.yaml"]).exit_code == 0
    assert CliRunner().invoke(app, ["check", "draft.yaml", "--show-prompt", "1"]).exit_code == 0


def test_what_the_run_does_with_failures_and_answers(launched):
    run = launched("{text}", *LABEL, "-m", "sim")
    assert (run.stops_at_failure, run.retry.only_transient, run.config.llm.cache) == (False, True, True)
    flags = ("--on-error", "stop", "--retry-failed", "--fresh", "--with", "cost, latency", "-o", "out.csv")
    run = launched("{text}", *LABEL, "-m", "sim", *flags)
    assert (run.stops_at_failure, run.retry.only_transient, run.config.llm.cache) == (True, False, False)
    assert (run.job.extras, run.job.target) == (("cost", "latency"), "out.csv")


def test_any_file_is_replaced_on_request(launched, table):
    (table / "mine.csv").write_text("id\n")
    assert launched("{text}", *LABEL, "-m", "sim", "-o", "mine.csv", "--overwrite").job.target == "mine.csv"


def test_a_run_remembers_its_command_line_without_secrets(launched):
    words = ("{text}", *LABEL, "-m", "sim", "--set", "llm.timeout_s=7")
    assert launched(*words).origin.command == ("map", "rows.csv", *words)
    overrides = ("--set", "llm.endpoints.0.api_key=sk-1", "--set=x.token=t")
    shown = " ".join(shown_command(["map", "s3://user:hunter22@bucket/t.csv", *overrides]))
    assert not any(secret in shown for secret in ("hunter22", "sk-1", "=t"))
    assert "llm.endpoints.0.api_key=..." in shown


@pytest.mark.parametrize("name", ["AccessKey", "key", "auth", "X-Amz-Credential", "token"])
def test_no_parameter_of_a_url_that_tells_of_a_secret_is_stored_or_shown(name):
    url = f"https://h.test/rows.csv?lang=de&{name}=hunter22&page={{page}}"
    hidden = url.replace("hunter22", "***")
    assert shown_command(["map", url, "-o", url, f"--output={url}"])[1:] == (
        hidden,
        "-o",
        hidden,
        f"--output={hidden}",
    )
    assert shown(url) == hidden


@pytest.mark.usefixtures("table")
def test_the_advice_after_an_error_says_that_secrets_are_left_out(monkeypatch):
    def launch(run, *_):
        run.can_go_on = True
        raise LaunchedError("launched")

    monkeypatch.setattr(runner, "launch", launch)
    words = ["map", "rows.csv", "{text}", *LABEL, "-m", "sim", "-o", "memory://user:hunter22@bucket/r.csv"]
    monkeypatch.setattr(sys, "argv", ["headrace", *words])
    said = CliRunner().invoke(app, words).stderr
    assert "memory://***@bucket/r.csv" in said
    assert "hunter22" not in said
    assert "secrets are not shown: give them again" in said


@pytest.mark.usefixtures("launched")
def test_stdin_is_a_table():
    ended = CliRunner().invoke(app, ["map", "-", "{text}", *LABEL, "-m", "sim"], input='{"text": "a"}\n')
    assert ended.stderr.startswith("stdin: 1 row, 1 column (text)")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*LABEL,), "no prompt: give it as the second argument, such as 'Classify: {text}'"),
        (("{text}", "-p", "{text}", *LABEL), "the prompt is given twice"),
        (("--embed", "text", *LABEL), "--embed asks for vectors and not for fields: leave out -c"),
        (("--embed", "text", "{text}", "--system", "a"), "leave out PROMPT, --system"),
        (("--embed", " "), "--embed is empty: name a column"),
        (("@none.txt", *LABEL), "--prompt: none.txt cannot be read: No such file or directory"),
        (("{text}", *LABEL, "--system", "@none.txt"), "--system: none.txt cannot be read"),
        (("{text}", *LABEL, "--columns", "c.txt"), "-c and --columns exclude each other"),
        (("{text}", "--columns", "c.txt"), "--columns: c.txt cannot be read"),
        (("{text}", "--columns", "c.json"), "--columns c.json: there is no such file"),
        (("{text}", "--columns", "no_module:Model"), "--columns: "),
        (("{text}", *LABEL, "-c", "label: str"), "-c: "),
        (("{text}", "-c", "text: str"), "the input already has 'text' among its columns"),
        (("{text}", *LABEL, "--limit", "3", "--sample", "3"), "--limit and --sample exclude each other"),
        (("{text}", *LABEL, "--deadline", "soon"), "--deadline soon: write a time of day such as 06:00"),
        (
            ("{text}", *LABEL, "--delimiter", "::"),
            "a delimiter is one character such as ';', or tab, not '::'",
        ),
        (("{text}", *LABEL, "--delimiter", ";"), "the header has one column 'id,text'; use --delimiter ','"),
        (("{text}", *LABEL, "--encoding", "ansi"), "there is no encoding 'ansi'"),
        (("{text}", *LABEL, "-o", "out.xlsx"), "out.xlsx: the suffix names no format; use one of .jsonl"),
        (
            ("{text}", *LABEL, "-o", "./rows.csv"),
            "rows.csv: the result would replace the table itself: name another file",
        ),
        (("{text}", *LABEL, "-o", "mine.csv"), "mine.csv exists, and is no earlier result of this job"),
        (("{text}", *LABEL, "--json"), "--json prints the summary on stdout: name a file"),
        (("{text}", *LABEL, "--config", "none.yaml"), "none.yaml: cannot be read"),
        (("{text}", *LABEL, "--set", "llm.timeout=3"), "did you mean timeout_s?"),
        (("{text}", *LABEL, "--param", "temperature"), "--param temperature: write KEY=VALUE"),
        (("Rate it", *LABEL), "the prompt: it names no column"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_found_before_anything_is_asked(table, monkeypatch, words, message):
    (table / "mine.csv").write_text("id,text\nr1,corrected by hand\n")
    monkeypatch.setattr(runner, "launch", None)
    assert message in refused(*words, "-m", "sim")


@pytest.mark.usefixtures("table")
def test_a_table_that_cannot_be_read_is_named():
    assert refused("{text}", *LABEL, data="none.csv").startswith("none.csv: there is no such file")
    assert "the file type is unknown; name it .jsonl" in refused("{text}", *LABEL, data="rows.xlsx")


def test_a_dry_run_shows_the_first_prompt_and_asks_nothing(table, monkeypatch):
    monkeypatch.setattr(runner, "launch", None)
    ended = CliRunner().invoke(app, ["map", "rows.csv", "Rate {text}", *LABEL, "-m", "sim", "--dry-run"])
    assert ended.exit_code == 0
    assert "prompt of row-000001:\n  Rate text 0\n" in ended.stdout
    assert "  label: yes | no\n" in ended.stdout
    assert not (table / ".headrace").exists()


def test_a_job_is_saved_as_a_configuration_that_is_never_overwritten(table, monkeypatch):
    monkeypatch.setattr(runner, "launch", None)
    command = ["map", "rows.csv", "Rate {text}", *LABEL, "-m", "sim", "--dry-run", "--save", "job.yaml"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert CliRunner().invoke(app, ["check", "job.yaml"]).exit_code == 0
    assert CliRunner().invoke(app, command).exit_code == 0, "it holds this job already"
    (table / "job.yaml").write_text("mine: yes\n")
    assert "--save job.yaml: the file exists; nothing is overwritten" in refused(*command[2:])
    assert (table / "job.yaml").read_text() == "mine: yes\n"


@pytest.mark.parametrize("agreed", [("--yes",), ("--budget", "5")])
def test_a_large_job_needs_consent_where_no_terminal_can_be_asked(launched, table, agreed):
    (table / "rows.csv").write_text("text\n" + "".join(f"text {n}\n" for n in range(1001)))
    price = "llm.endpoints.0.price={input_usd_per_mtok: 1, output_usd_per_mtok: 1}"
    real = ("{text}", *LABEL, "-m", "m", "--base-url", "http://127.0.0.1:9/v1", "--set", price)
    assert "this job is large, and no terminal can be asked: give --yes or --budget USD" in refused(*real)
    assert launched(*real, *agreed).count == 1001
    assert launched("{text}", *LABEL, "-m", "sim").count == 1001, "simulated answers cost nothing"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("06:00", 5 * 3600), ("0:59", 24 * 3600 - 60), ("4h", 14_400), ("30m", 1800), ("1.5m", 90), ("90s", 90)],
)
def test_a_deadline_is_a_time_of_day_or_a_duration(text, seconds):
    now = dt.datetime(2026, 5, 1, 1, 0, tzinfo=dt.UTC)
    assert seconds_until(text, now) == seconds


@pytest.mark.parametrize("text", ["", "6", "25:00", "06:60", "0s", "-1h", "1w", "noon"])
def test_another_deadline_is_refused(text):
    with pytest.raises(ConfigError, match="--deadline"):
        seconds_until(text, dt.datetime(2026, 5, 1, tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("widths", "room", "made"),
    [
        ([4, 9], 40, [4, 9]),
        ([4, 30, 9], 40, [4, 21, 9]),
        ([30, 30], 34, [15, 15]),
        ([9, 9, 9], 10, [6, 6, 6]),
    ],
)
def test_the_widest_columns_of_a_preview_give_way(widths, room, made):
    assert fitted(widths, room) == made


@pytest.mark.parametrize(
    ("billed", "usage", "text"),
    [
        (
            7,
            Usage(70, 7, 0.75),
            "this time 2 calls were billed, $0.2500; the figures above are of the whole run",
        ),
        (5, Usage(50, 5, 0.5), "nothing was paid this time: all 5 answers are of earlier times"),
    ],
)
def test_a_run_that_is_continued_says_what_was_paid_this_time(billed, usage, text):
    before = Spent(CallCounts(billed=5), Usage(50, 5, 0.5))
    summary = SimpleNamespace(calls=CallCounts(billed=billed), usage=usage, is_priced=True)
    assert spent_now(before, summary) == text


@pytest.mark.usefixtures("table")
def test_an_estimate_counts_a_column_that_is_replaced():
    words = ["estimate", "rows.csv", "Rate {text}", "-c", "text: str", "-m", "sim", "--replace"]
    assert CliRunner().invoke(app, words).exit_code == 0


def test_estimate_takes_the_options_of_map_and_refuses_unknown_ones(table):
    words = ["estimate", "rows.csv", "Is {text} fine?", *LABEL, "-m", "sim"]
    ignored = [
        "-o",
        "out.csv",
        "-y",
        "-q",
        "--budget",
        "3",
        "--deadline",
        "4h",
        "--retry-failed",
        "--dry-run",
    ]
    ignored += ["--with", "cost", "--replace", "--on-error", "stop", "--save", "job.yaml"]
    ended = CliRunner().invoke(app, [*words, *ignored])
    assert (ended.exit_code, ended.stdout) == (0, CliRunner().invoke(app, words).stdout), ended.stderr
    assert sorted(path.name for path in table.iterdir()) == ["rows.csv"]
    for unknown in ("--outptu", "--fresh"):  # a fresh run pays for stored answers, too
        assert "No such option" in CliRunner().invoke(app, [*words, unknown]).stderr


def test_the_rows_without_an_answer_are_those_that_failed_and_those_that_were_skipped():
    text = without_answer(TaskTally(accepted=100, succeeded=70, failed=20, partial=10))
    assert text.startswith("30 rows have no answer: their _error says why; 10 of them were skipped")
    assert text.endswith("--retry-failed all failed rows")
    skipped = without_answer(TaskTally(accepted=100, succeeded=90, partial=10))
    assert skipped.startswith("10 rows have no answer")
    assert "--retry-failed" not in skipped  # it would skip them again
    assert "skipped" not in without_answer(TaskTally(accepted=100, succeeded=80, failed=20))
    assert not without_answer(TaskTally(accepted=100, succeeded=100))


def test_one_row_and_one_column_are_counted_in_the_singular(table):
    (table / "one.csv").write_text("text\nfine\n")
    ended = CliRunner().invoke(app, ["map", "one.csv", "Is {text} fine?", *LABEL, "-m", "sim", "--dry-run"])
    assert ended.stderr.splitlines()[0] == "one.csv: 1 row, 1 column (text)"


@pytest.mark.parametrize(
    ("name", "columns_in"),
    [
        ("out.csv", lambda path: path.read_text().strip().replace('"', "").split(",")),
        ("out.parquet", lambda path: pq.read_schema(path).names),
    ],
)
def test_a_table_without_rows_gives_a_result_without_rows_and_no_call(table, monkeypatch, name, columns_in):
    monkeypatch.setattr(runner, "launch", None)
    (table / "none.csv").write_text("id,text\n")
    command = ["map", "none.csv", "{text}", *LABEL, "--with", "cost", "-m", "sim", "-o", name, "--json"]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0, ended.stderr
    assert "the table has no rows: nothing was asked" in ended.stderr
    document = orjson.loads(ended.stdout)
    assert (document["run_id"], document["state"], document["results"]) == (None, "succeeded", [name])
    assert columns_in(table / name) == ["id", "text", "label", "_error", "_cost_usd"]
    assert not (table / ".headrace").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["{text}"], 0, "nothing was asked"),
        (["{text}", "--dry-run"], 0, "nothing was asked"),
        (["{text}", "-c", "text: str"], 2, "the input already has 'text'"),
        (["{txt}"], 2, "did you mean text"),
    ],
    ids=str,
)
def test_a_table_without_rows_is_checked_as_any_other(table, words, code, said):
    (table / "none.csv").write_text("id,text\n")
    ended = CliRunner().invoke(app, ["map", "none.csv", *words, *LABEL, "-m", "sim"])
    assert ended.exit_code == code, ended.stderr
    assert said in ended.stderr


def test_an_estimate_of_a_table_without_rows_is_of_0_rows(table):
    (table / "none.jsonl").write_text("")
    for sample in ([], ["--sample", "30"]):
        command = ["estimate", "none.jsonl", "{text}", *LABEL, "-m", "sim", *sample]
        ended = CliRunner().invoke(app, command)
        assert ended.exit_code == 0, ended.stderr
        assert ended.stdout.startswith("0 rows")
