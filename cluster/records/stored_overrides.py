"""Tells which overrides of a run's start may be taken from its store.

Rule: A store does not decide which code runs, which host receives a key or a result, which files are attached
to prompts, or which variable of the environment is read. Its writer would then do so on the machine of the
user who resumes a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from cluster.config.paths import KeyPath, leaves
from cluster.config.yaml import ParsedYaml


def divided(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the overrides that are taken from a store, and the keys of those that the user gives again."""
    kept: list[str] = []
    again: list[str] = []
    for assignment in overrides:
        key, _, text = assignment.partition("=")
        steps = tuple(key.split("."))
        values = leaves(ParsedYaml(text, key, numbered=False).value or "", steps)
        if _decides((steps, "")) or any(map(_decides, values)):
            again.append(key)
        else:
            kept.append(assignment)
    return kept, again


def _decides(leaf: tuple[KeyPath, object]) -> bool:
    """Return whether a value names code, a host, files to send or a variable of the environment."""
    path, value = leaf
    text = str(value)
    section = path[0]
    return (
        section == "sources"
        or path[:2] in (("llm", "endpoints"), ("llm", "attachments"), ("output", "sinks"), ("store", "url"))
        or (
            section == "evaluate" and (path[-1] == "output" or not {"json_schema", "attach"}.isdisjoint(path))
        )
        or (section in ("llm", "output", "store") and "://" in text)
        or "${" in text
    )
