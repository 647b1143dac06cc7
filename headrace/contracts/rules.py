"""Checks a rule of a contract."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class ContractError(AssertionError):
    """A plug-in breaks a rule of its contract."""


def check(holds: bool, rule: str, found: object = None) -> None:  # noqa: FBT001 - reads as "check that"
    """Raise `ContractError` with the `rule` unless it `holds`."""
    if not holds:
        raise ContractError(rule if found is None else f"{rule}; found {found!r}")


@contextlib.contextmanager
def raises(kind: type[Exception], rule: str) -> Iterator[None]:
    """Raise `ContractError` with the `rule` unless the context raises `kind`."""
    try:
        yield
    except kind:
        return
    raise ContractError(rule)


@contextlib.contextmanager
def raises_nothing(rule: str, given: object) -> Iterator[None]:
    """Raise `ContractError` with the `rule` and what was `given` if the context raises."""
    try:
        yield
    except ContractError:
        raise
    except Exception as error:
        raise ContractError(f"{rule}; given {given!r} it raised {error!r}") from error
