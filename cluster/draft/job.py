"""Writes a first configuration for a table, in which each guess stands with its evidence."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from actors.core.task.column_text import spelled
from actors.core.task.column_words import plain_name
from cluster.draft.profile import ColumnProfile, TableProfile
from cluster.input.formats import FileForm
from cluster.report.console import plain

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = re.compile(r"(?!(?:true|false|null)$)[A-Za-z_][A-Za-z0-9_./-]*", re.IGNORECASE)
_SIMPLE = re.compile(r"[A-Za-z0-9][\w.\[\]|=,; -]*")  # text that is a scalar without quotes
_SHOWN_COLUMNS = 12
_COMMENT = 100  # characters
_PLAIN_TEXT = FileForm()


class JobTemplate(enum.StrEnum):
    """The kinds of jobs, by what they do with a text."""

    CLASSIFY = "classify"
    EXTRACT = "extract"
    SUMMARIZE = "summarize"
    JUDGE = "judge"


_PROMPTS: Mapping[JobTemplate, str] = {
    JobTemplate.CLASSIFY: "Classify this text: ",
    JobTemplate.EXTRACT: "Extract what this text says; null where it says nothing: ",
    JobTemplate.SUMMARIZE: "Summarize this text: ",
    JobTemplate.JUDGE: "Judge how clear and helpful this text is: ",
}
_COLUMNS: Mapping[JobTemplate, Mapping[str, str]] = {
    JobTemplate.CLASSIFY: {
        "sentiment": "positive | neutral | negative",
        "confidence": "0..1 = how sure you are",
    },
    JobTemplate.EXTRACT: {
        "people": "list[str] = names of people",
        "date?": "date = the day that it is about",
        "amount?": "float = an amount of money",
    },
    JobTemplate.SUMMARIZE: {"summary": "= one sentence", "topics": "list[str] = at most three"},
    JobTemplate.JUDGE: {"score": "1..5 = 5 is best", "reason": "= one sentence on what the score rests on"},
}
_EXAMPLES = ("Works as promised, and arrived early.", "Broke after a week.", "Fine for the price.")


@dataclass(frozen=True, slots=True)
class JobDraft:
    """The draft of a job. Without a `table` its tasks are three texts in the configuration itself."""

    template: JobTemplate
    path: str = ""
    table: TableProfile | None = None
    bare: bool = False
    form: FileForm = _PLAIN_TEXT

    def text(self, file: str, program: str) -> str:
        """Return the configuration for `file`. `program` is what users write to start this program."""
        lines = [*self._head(file, program), *self._tasks(), *self._model(), *self._question()]
        lines += ["", "output: {format: [jsonl, csv]}"]
        if self.bare:
            lines = [line for line in lines if not line.lstrip().startswith("#")]
            lines = [re.sub(r"  # .*", "", line) for line in lines]
        return re.sub(r"\n{3,}", "\n\n", "\n".join(lines).strip() + "\n")

    def _head(self, file: str, program: str) -> Iterator[str]:
        of = f" {plain(self.path, _COMMENT)}" if self.path else ""
        yield f"# Written by `{program} init{of}`. Each guess stands with its evidence: correct it."
        yield "#"
        for command in next_commands(file, program):
            yield f"#     {command}"
        stem = re.sub(r"\.\w+$", "", self.path.rpartition("/")[2])
        yield f"name: {_NOT_IN_NAME.sub('-', stem).strip('-.')[:48] or 'job'}"
        yield ""

    def _tasks(self) -> Iterator[str]:
        if self.table is None:
            yield "# A file of your own: {kind: file, path: my.csv, key: COLUMN}"
            yield "tasks:"
            yield "  kind: inline"
            yield "  tasks:"
            for number, text in enumerate(_EXAMPLES, 1):
                yield f"    - {{key: example-{number}, params: {{text: {json.dumps(text)}}}}}"
            return
        yield "tasks:"
        yield "  kind: file"
        yield f"  path: {_scalar(self.path)}"
        if self.form.delimiter is not None:
            yield f"  delimiter: {_quoted(self.form.delimiter)}"
        if self.form.encoding is not None:
            yield f"  encoding: {_scalar(self.form.encoding)}"
        key, rows = self.table.key, self.table.rows
        if key is not None:
            yield f"  key: {_scalar(key.name)}  # {rows:,} different of {rows:,}"
        else:
            yield "  # key: COLUMN  # no column is unique: the rows are named by their numbers"

    def _model(self) -> Iterator[str]:
        yield ""
        yield "# Without an endpoint the model is simulated: free, and its answers mean nothing. A real one:"
        yield "# llm:"
        yield "#   endpoints:"
        yield '#     - {name: main, model: "openai:NAME"}  # its key is OPENAI_API_KEY'
        yield ""

    def _question(self) -> Iterator[str]:
        text = None if self.table is None else self.table.text
        name = text.name if text is not None else "text" if self.table is None else "fields"
        yield "evaluate:"
        if self.table is not None and text is not None:
            others = [f"{{{column.name}}}" for column in self.table.columns if column is not text]
            size = f"{text.mean_length:,.0f} characters on average"
            yield f"  # {{{plain(name, _COMMENT)}}} has the longest text: {size}."
            if others:
                shown = ", ".join(plain(each, _COMMENT) for each in others[:_SHOWN_COLUMNS])
                yield f"  # Also: {shown}{', …' if len(others) > _SHOWN_COLUMNS else ''}"
        elif self.table is not None:
            yield "  # No column holds text: {fields} stands for all columns, as JSON."
        yield f"  prompt: {_quoted(f'{_PROMPTS[self.template]}{{{name}}}')}"
        yield "  output:"
        columns = self.table.columns if self.table is not None else ()
        taken = {column.name for column in columns}
        for field, meaning in _COLUMNS[self.template].items():
            bare = field.removesuffix("?")
            free = f"new_{field}" if bare in taken else field
            yield f"    {free}: {_meaning(meaning)}"
        for column in self.table.choices if self.table is not None else ():
            yield from _choice_lines(column)


def next_commands(file: str, program: str) -> tuple[str, ...]:
    """Return the commands that a user may run next."""
    return (
        f"{program} check {file} --show-prompt 1  # what would be asked",
        f"{program} run {file} --limit 10         # a few rows",
        f"{program} run {file}                    # all rows; after Ctrl-C: {program} resume RUN_ID",
    )


def _choice_lines(column: ColumnProfile) -> Iterator[str]:
    """Yield the lines of a commented column that asks the model for the value of `column`."""
    choices = sorted(column.choices or ())
    name = f"{plain_name(column.name) or 'column'}_by_model"
    meaning = spelled("x", {"type": "string", "choices": choices}).partition(":")[2].strip()
    yield f"    # {plain(column.name, _COMMENT)} has {len(choices)} different values in {column.rows:,} rows:"
    yield f"    # {name}: {plain(_meaning(meaning), 1000)}"


def _scalar(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else _quoted(text)


def _meaning(text: str) -> str:
    """Return a line of the column grammar as a scalar of YAML."""
    return (
        text
        if not re.search(r"[:#\"'{}\[\],&*!%@`]|^[=|>-]", text.replace("list[str]", ""))
        else _quoted(text)
    )


def _quoted(text: str) -> str:
    return json.dumps(text.replace("${", "$${"), ensure_ascii=False)
