"""The errors that calls raise. Each says what happened, where, and what to do.

All derive from `HeadraceError`. Notes of an error (``__notes__``) say how to continue the run.
"""

from actors.core.errors import (
    Blame,
    ConfigChangedError,
    ConfigError,
    FencedError,
    HeadraceError,
    InvalidRunIdError,
    RunTakenError,
    StoppedError,
    StoreError,
    StoreUnavailableError,
)
from actors.core.task.columns import ColumnError
from cluster.checks.preflight import PreflightError
from cluster.config.problem import ConfigFileError, ConfigProblem
from cluster.input.problems import TaskInputError
from headrace.batch import RunStoppedError
from headrace.map_call import MapStoppedError
from headrace.rows.values import TableError

__all__ = [
    "Blame",
    "ColumnError",
    "ConfigChangedError",
    "ConfigError",
    "ConfigFileError",
    "ConfigProblem",
    "FencedError",
    "HeadraceError",
    "InvalidRunIdError",
    "MapStoppedError",
    "PreflightError",
    "RunStoppedError",
    "RunTakenError",
    "StoppedError",
    "StoreError",
    "StoreUnavailableError",
    "TableError",
    "TaskInputError",
]
