"""The contracts of plug-ins as tests. Subclass one in a module of tests that pytest runs.

Each test needs nothing but this package, and raises `ContractError` with the rule that does not hold.
Headrace runs the same tests on its own sources and stores. docs/extending.md has an example of each.
"""

from __future__ import annotations

from headrace.contracts.dialects import DialectContract
from headrace.contracts.rules import ContractError
from headrace.contracts.sinks import SinkContract
from headrace.contracts.sources import SourceContract
from headrace.contracts.steps import StepContract
from headrace.contracts.stores import StoreContract

__all__ = [
    "ContractError",
    "DialectContract",
    "SinkContract",
    "SourceContract",
    "StepContract",
    "StoreContract",
]
