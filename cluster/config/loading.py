"""Loads the configuration of this process, and removes its secrets from the log and from errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actors.runtime.log_guard import guard_logs

if TYPE_CHECKING:
    from cluster.config.model import HeadraceConfig


def loaded(path: Path, *, overrides: Sequence[str] = (), env: Mapping[str, str]) -> HeadraceConfig:
    """Return the same as `model.load`, and remove the secrets from this process's log and errors.

    Raises `ConfigFileError`.
    """
    from cluster.config.model import load  # noqa: PLC0415 - loads pydantic, which takes longer than most commands

    config = load(path, overrides=overrides, env=env)
    guard_logs(config.censor())
    return config
