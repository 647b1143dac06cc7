"""The contract of a computed step: a pure function of an item, whose fields are as it declares them."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence

from actors.core.errors import ConfigError
from actors.core.messages.values import Json
from cluster.config.kinds.step import ComputedStep
from headrace.contracts.rules import ContractError, check


class StepContract:
    """Subclass it, and implement `step` and `items`. `secrets` are texts that no error may contain."""

    secrets: tuple[str, ...] = ()

    def step(self) -> ComputedStep:
        """Return a step, as a configuration describes it."""
        raise NotImplementedError

    def items(self) -> Sequence[Mapping[str, Json]]:
        """Return items of which the step computes fields."""
        raise NotImplementedError

    def failing(self) -> Mapping[str, Json] | None:
        """Return an item for which the step fails; None if it cannot fail."""
        return None

    def test_the_fields_are_as_they_are_declared(self) -> None:
        """Tables and later steps rely on their names and types."""
        for item in self._items():
            _fields(self.step(), item)

    def test_equal_items_have_equal_fields_in_every_process(self) -> None:
        """A resumed run computes the fields again, and asks for each call that it has no answer to."""
        moved: ComputedStep = pickle.loads(pickle.dumps(self.step()))  # noqa: S301 - made here
        for item in self._items():
            first, second = _fields(self.step(), item), _fields(moved, copy.deepcopy(item))
            check(first == second, "compute returns equal fields for equal items", (first, second))

    def test_an_item_is_not_changed(self) -> None:
        """The prompts of later steps use it."""
        for item in self._items():
            given = copy.deepcopy(item)
            _fields(self.step(), given)
            check(given == item, "compute does not change the item", given)

    def test_an_item_that_fails_raises_without_a_secret(self) -> None:
        """Only this item fails. Its cause is shown and stored."""
        item = self.failing()
        if item is None:
            return
        try:
            self.step().values_of(item)
        except Exception as error:  # noqa: BLE001 - any is a failure
            text = f"{type(error).__name__}: {error}"
            check(not any(secret in text for secret in self.secrets), "no error contains a secret", text)
        else:
            raise ContractError("compute raises for the item of `failing`")

    def _items(self) -> Sequence[Mapping[str, Json]]:
        items = self.items()
        check(bool(items), "`items` has at least one item")
        return items


def _fields(step: ComputedStep, item: Mapping[str, Json]) -> Mapping[str, Json]:
    try:
        return step.values_of(item)
    except ConfigError as error:
        raise ContractError(f"compute returns the fields of `columns`: {error}") from error
