"""Renders a run as one self-contained HTML file, without scripts, fonts or network access.

Rule: Keys, findings and errors are untrusted text. `_text` cleans and escapes all of it. As a second defence,
    the page's content security policy forbids loading or running anything.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from actors.core.messages.journal import RunView
from actors.core.messages.tasks import Report, TaskState
from cluster.program import program
from cluster.report.console import dollars, duration, plain
from cluster.report.figures import Figures, Scores
from cluster.report.receipt import receipt_lines, receipt_of, usage_text
from cluster.report.views import counts_text, is_priced, moment

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_WIDTH, _HEIGHT, _GAP = 300, 90, 2  # of a chart, in SVG user units

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bar: #2a78c8;
  --succeeded: #1a7f37; --partial: #9a6700; --failed: #cf222e; --cancelled: #6e7781; }
@media (prefers-color-scheme: dark) { :root { --bar: #6cb0f5;
  --succeeded: #4ac26b; --partial: #d4a72c; --failed: #ff7b72; --cancelled: #9ea7b0; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 72rem;
  overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .3rem 0; } .soft { opacity: .72; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0; }
dt { opacity: .72; } dd { margin: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .7rem; border: 1px solid var(--line); border-radius: 6px; }
figcaption { font-weight: 600; } svg { width: 100%; height: auto; display: block; margin-top: .4rem; }
rect { fill: var(--bar); } text { fill: currentColor; font-size: 11px; opacity: .75; }
line { stroke: var(--line); }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; opacity: .72; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem .4rem 0; }
th, td { border-top: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
ul { margin: .2rem 0; padding-left: 1.1rem; }
.state { font-weight: 600; white-space: nowrap; }
.succeeded { color: var(--succeeded); } .partial { color: var(--partial); }
.failed { color: var(--failed); } .cancelled { color: var(--cancelled); }
@media (max-width: 40rem) {
  table.tasks thead { position: absolute; clip-path: inset(50%); }
  table.tasks tr { display: block; padding: .6rem 0; border-top: 1px solid var(--line); }
  table.tasks td { display: block; border: 0; padding: .1rem 0; text-align: left; white-space: normal; }
  table.tasks td.number::before { content: attr(data-name) ": "; opacity: .72; }
}
"""


def page(run: RunView, figures: Figures, made_at: float) -> Iterator[str]:
    """Yield the HTML page of a run in parts. `made_at` is in seconds since 1970."""
    title = f"Run {run.run_id}"
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    )
    yield f"<h1>{_text(title)}</h1>\n"
    yield f'<p class="soft">{_text(run.name)} · this page was made {moment(made_at)}</p>\n'
    yield from _summary(run, figures)
    if figures.dimensions:
        yield from _charts((figures.overall, *figures.dimensions))
    yield from _causes(figures)
    yield from _tasks(run, figures)
    yield "</body>\n</html>\n"


def _summary(run: RunView, figures: Figures) -> Iterator[str]:
    tasks = run.tasks
    ended = [(state, getattr(tasks, state)) for state in TaskState]
    outcomes = [f'<span class="{state}">{count:,} {state}</span>' for state, count in ended if count]
    left = tasks.accepted - tasks.ended
    outcomes += [f"{left:,} not ended"] if left else []
    state = f'<span class="state {_text(run.state)}">{_text(run.state)}</span>'
    took = "" if run.ended_at is None else f", {duration(max(0.0, run.ended_at - run.began_at))} to its end"
    yield "<dl>\n"
    yield _entry("state", state)
    yield _entry("started", f"{moment(run.began_at)}{took}")
    yield _entry("tasks", " · ".join([f"{tasks.accepted:,} accepted", *outcomes]))
    yield _entry("calls", _text(counts_text(run.spent.counts)))
    yield _entry("cost", _text(usage_text(run.spent.usage, is_priced=is_priced(run))))
    for line in receipt_lines(receipt_of(run.spent), is_priced=is_priced(run)):
        yield _entry("", _text(line))
    for name, source in figures.summary.sources.items():
        failed = f' · <span class="failed">{source.failed:,} failed</span>' if source.failed else ""
        yield _entry("source", f"{_text(name)}: {source.fetched:,} answered{failed}")
    yield "</dl>\n"


def _entry(name: str, value: str) -> str:
    return f"<dt>{name}</dt><dd>{value}</dd>\n"


# ---- scores ----------------------------------------------------------------------------------------------


def _charts(scores: Iterable[Scores]) -> Iterator[str]:
    yield '<h2>Scores</h2>\n<div class="charts">\n'
    for each in scores:
        mean = "no task has a score" if each.mean is None else f"mean {each.mean:.2f}"
        missing = f" · {each.missing:,} without" if each.missing else ""
        yield (
            f"<figure><figcaption>{_text(each.name)}</figcaption>"
            f'<span class="soft">{each.scored:,} tasks · {mean}{missing}</span>{_chart(each)}</figure>\n'
        )
    yield "</div>\n"


def _chart(scores: Scores) -> str:
    most, bins = max(*scores.counts, 1), len(scores.counts)
    step, size = _WIDTH / bins, (scores.high - scores.low) / bins
    bars = []
    for index, count in enumerate(scores.counts):
        if not count:
            continue
        height = max(1.0, count / most * _HEIGHT)
        begins = scores.low + index * size
        bars.append(
            f'<rect x="{index * step:.1f}" y="{_HEIGHT - height:.1f}" width="{step - _GAP:.1f}" '
            f'height="{height:.1f}"><title>{begins:g} to {begins + size:g}: {count:,} tasks</title></rect>'
        )
    name = html.escape(f"How the scores of {plain(scores.name)} spread")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img" aria-label="{name}">{"".join(bars)}'
        f'<line x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>'
        f'<text x="0" y="{_HEIGHT + 14}">{scores.low:g}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{scores.high:g}</text></svg>'
    )


# ---- errors ----------------------------------------------------------------------------------------------


def _causes(figures: Figures) -> Iterator[str]:
    failures = figures.summary.failures
    if not failures:
        return
    yield "<h2>What went wrong</h2>\n<table>\n"
    yield '<thead><tr><th class="number">tasks</th><th>cause</th></tr></thead>\n'
    for one in failures:
        texts = "<br>".join(map(_text, (one.text, *one.others)))
        yield f'<tr><td class="number">{one.tasks:,}</td><td>{texts}</td></tr>\n'
    yield "</table>\n"


# ---- tasks -----------------------------------------------------------------------------------------------


def _tasks(run: RunView, figures: Figures) -> Iterator[str]:
    names = [each.name for each in figures.dimensions]
    yield '<h2>Tasks</h2>\n<table class="tasks">\n'
    if run.tasks.ended > len(figures.rows):
        yield (
            f"<caption>The first {len(figures.rows):,} of {run.tasks.ended:,}; all of them: "
            f"<code>{program()} results {_text(run.run_id)}</code></caption>\n"
        )
    numbers = "".join(f'<th class="number">{_text(name)}</th>' for name in ("overall", *names, "cost"))
    yield f"<thead><tr><th>task</th><th>state</th>{numbers}<th>findings</th></tr></thead>\n<tbody>\n"
    for report in figures.rows:
        yield _row(report, names, is_priced=is_priced(run))
    yield "</tbody>\n</table>\n"


def _row(report: Report, names: list[str], *, is_priced: bool) -> str:
    scores = {result.name: result.score for result in report.dimensions}
    numbers = [("overall", report.overall), *((name, scores.get(name)) for name in names)]
    cells = "".join(
        f'<td class="number" data-name="{_text(name)}">{"-" if score is None else f"{score:.2f}"}</td>'
        for name, score in numbers
    )
    findings = [
        f"<li><b>{_text(result.name)}</b> {_text(result.finding)}</li>"
        for result in report.dimensions
        if result.finding
    ]
    errors = [f'<li class="failed">{_text(error, 500)}</li>' for error in report.errors]
    listed = "".join([*findings, *errors])
    return (
        f'<tr><td>{_text(report.key, 512)}</td><td class="state {report.state}">{report.state}</td>{cells}'
        f'<td class="number" data-name="cost">{dollars(report.usage, is_priced=is_priced)}</td>'
        f"<td>{f'<ul>{listed}</ul>' if listed else ''}</td></tr>\n"
    )


def _text(text: str, limit: int = 2_000) -> str:
    return html.escape(plain(text, limit))
