"""A plug-in that breaks a rule of its contract fails the test of that rule, and no other."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Literal

import pytest

from actors.core.errors import FencedError
from actors.core.messages.tasks import Item, Task
from actors.journal.stores.memory import MemoryStore
from actors.llm.dialects.chat import ChatDialect
from actors.sources.base import SourceSettings
from cluster.config.kinds.step import ComputedStep
from headrace.contracts.sources import SourceContract
from headrace.contracts.stores import StoreContract
from headrace.testing import ContractError, DialectContract, SinkContract, StepContract


def failures(contract):
    """Return the tests of a contract that fail. A fresh object runs each test."""
    failed = []
    for name in dir(contract):
        if name.startswith("test_"):
            try:
                getattr(contract(), name)()
            except ContractError:
                failed.append(name)
    return failed


# ---- sources ---------------------------------------------------------------------------------------------


NOT_JSON = object()


class OwnSettings(SourceSettings):
    kind: Literal["own"] = "own"
    breaks: str = ""

    def build(self):
        return OwnSource(self)


class OwnSource:
    def __init__(self, settings):
        self.breaks = settings.breaks
        self.most = settings.max_items
        self.calls = 0
        self.busy = False

    async def fetch(self, task):
        self.calls += 1
        if task.key == "gone":
            if self.breaks == "secret":
                raise ValueError("https://user:sk-123456@host does not answer")
            raise KeyError(task.key)
        prefix = "x" if self.breaks == "ids" else "own"
        items = [Item(f"{prefix}:{n}", "own", "text", {"n": n}) for n in range(3)]
        if self.breaks == "order" and self.calls % 2:
            items.reverse()
        if self.breaks == "twice":
            items[1] = Item("own:0", "own", "other")
        if self.breaks == "json":
            items[1] = Item("own:1", "own", "text", {"n": NOT_JSON})
        if self.breaks == "cut":
            return items[: self.most]
        if self.breaks == "cancel":
            if self.busy:
                return items[:2]
            self.busy = True
            await asyncio.sleep(0)
            self.busy = False
        return items

    async def close(self):
        pass


def source_contract(breaks):
    class Contract(SourceContract):
        secrets = ("sk-123456",)

        def settings(self):
            return OwnSettings(name="own", breaks=breaks)

        def failing(self):
            return (self.settings(), Task("gone")) if breaks in ("error", "secret") else None

    return Contract


@pytest.mark.parametrize(
    ("breaks", "failed"),
    [
        ("", []),
        ("ids", ["test_an_id_begins_with_the_name_of_the_source_and_is_unique_in_its_task"]),
        ("twice", ["test_an_id_begins_with_the_name_of_the_source_and_is_unique_in_its_task"]),
        ("json", ["test_items_are_json_and_within_the_bounds"]),
        ("cut", ["test_more_items_than_max_items_are_an_error_and_are_not_cut"]),
        ("error", ["test_a_failure_is_a_source_error"]),
        ("secret", ["test_a_failure_is_a_source_error", "test_no_secret_is_in_a_repr_or_an_error"]),
        (
            "cancel",
            [
                "test_a_fetch_that_is_cancelled_ends_and_the_source_goes_on",
                "test_fetches_at_the_same_time_do_not_disturb_each_other",
            ],
        ),
    ],
)
def test_a_source_fails_the_tests_of_the_rules_that_it_breaks(breaks, failed):
    assert failures(source_contract(breaks)) == failed


def test_a_source_without_an_order_fails_the_test_of_it():
    assert "test_items_are_the_same_and_in_the_same_order_at_each_fetch" in failures(source_contract("order"))


# ---- stores ----------------------------------------------------------------------------------------------


class Unfenced(MemoryStore):
    def commit(self, batch):
        try:
            super().commit(batch)
        except FencedError:
            super().commit(type(batch)(batch.puts, batch.deletions))


class Unordered(MemoryStore):
    def scan(self, low, high, limit):
        return super().scan(low, high, limit)[::-1]


class Inclusive(MemoryStore):
    def scan(self, low, high, limit):
        return super().scan(low, high + b"\x00", limit)


class Forgetful(MemoryStore):
    def commit(self, batch):
        super().commit(type(batch)(batch.puts, [], batch.fences))


@pytest.mark.parametrize(
    ("store", "failed"),
    [
        (MemoryStore, None),
        (Unfenced, "test_a_batch_whose_fence_does_not_hold_changes_nothing"),
        (Unordered, "test_any_bytes_are_keys_and_values_and_keys_are_ordered_as_bytes"),
        (Inclusive, "test_a_scan_begins_at_its_low_key_ends_before_its_high_key_and_keeps_its_limit"),
        (Forgetful, "test_deletions_take_their_ranges_and_come_before_puts"),
    ],
)
def test_a_store_fails_the_tests_of_the_rules_that_it_breaks(store, failed):
    class Contract(StoreContract):
        is_shared = False

        def open_store(self):
            return store()

    found = failures(Contract)
    assert found == [] if failed is None else failed in found


# ---- sinks -----------------------------------------------------------------------------------------------


class OwnSink:
    def __init__(self, shown, breaks):
        self.shown = shown
        self.breaks = breaks
        self.rows = []

    def open(self, table, columns):
        pass

    def write(self, rows):
        self.rows += rows
        if self.breaks == "early":
            self.shown[:] = self.rows

    def finish(self):
        if self.breaks != "append":
            self.shown.clear()
        self.shown += self.rows[::-1] if self.breaks == "order" else self.rows

    def discard(self):
        if self.breaks == "clear":
            self.shown.clear()


@pytest.mark.parametrize(
    ("breaks", "failed"),
    [
        ("", None),
        ("early", "test_no_row_is_visible_before_the_end"),
        ("early", "test_discarded_rows_are_never_visible"),
        ("order", "test_at_the_end_all_rows_are_visible_in_their_order"),
        ("append", "test_rows_of_a_later_run_replace_those_of_an_earlier_one"),
        ("clear", "test_rows_that_are_visible_stay_when_a_later_attempt_is_discarded"),
    ],
)
def test_a_sink_fails_the_tests_of_the_rules_that_it_breaks(breaks, failed):
    class Contract(SinkContract):
        def __init__(self):
            self.shown = []

        def sink(self):
            return OwnSink(self.shown, breaks)

        def visible(self):
            return list(self.shown)

    found = failures(Contract)
    assert found == [] if failed is None else failed in found


# ---- steps -----------------------------------------------------------------------------------------------


calls = itertools.count()


class OwnStep(ComputedStep):
    kind: Literal["own"] = "own"
    breaks: str = ""

    def columns(self):
        return {"size": "int"}

    def compute(self, item):
        if item["text"] is None and self.breaks != "never fails":
            raise ValueError("hunter22" if self.breaks == "shows a secret" else "no text")
        if self.breaks == "changes the item":
            item["tags"].append("seen")
        size = next(calls) if self.breaks == "is no function" else len(item["text"] or "")
        return {"size": str(size) if self.breaks == "returns another type" else size}


def step_contract(breaks=""):
    class Contract(StepContract):
        secrets = ("hunter22",)

        def step(self):
            return OwnStep(name="size", kind="own", breaks=breaks)

        def items(self):
            return [{"text": "abc", "tags": []}]

        def failing(self):
            return {"text": None, "tags": []}

    return Contract


@pytest.mark.parametrize(
    ("breaks", "rule"),
    [
        ("", None),
        ("returns another type", "test_the_fields_are_as_they_are_declared"),
        ("is no function", "test_equal_items_have_equal_fields_in_every_process"),
        ("changes the item", "test_an_item_is_not_changed"),
        ("shows a secret", "test_an_item_that_fails_raises_without_a_secret"),
        ("never fails", "test_an_item_that_fails_raises_without_a_secret"),
    ],
)
def test_a_step_that_breaks_a_rule_fails_its_test(breaks, rule):
    failed = failures(step_contract(breaks))
    if breaks == "returns another type":
        assert rule in failed  # no other rule can be kept without fields
    else:
        assert failed == ([] if rule is None else [rule])


# ---- dialects --------------------------------------------------------------------------------------------


class OwnDialect(ChatDialect):
    breaks = ""

    def url(self, *, stream):
        return "http://here" if self.breaks == "url" else super().url(stream=stream)

    def parameters(self, form):
        return {} if self.breaks == "parameters" else super().parameters(form)

    def prepare(self, form):
        prepared = super().prepare(form)
        return Forgetful(prepared) if self.breaks == "correction" else prepared

    def read(self, form, body):
        if self.breaks == "raises":
            return super().read(form, body.decode().encode())
        return super().read(form, body)

    def error(self, status, headers, body, wall_now):
        if self.breaks == "status":
            status = 429
        if self.breaks == "header":
            float(headers.get("retry-after", "1"))
        return super().error(status, headers, body, wall_now)


class Forgetful:
    def __init__(self, prepared):
        self.prepared = prepared
        self.form = prepared.form

    def body(self, prompt, correction, *, stream=False):
        return self.prepared.body(prompt, None, stream=stream)


@pytest.mark.parametrize(
    ("breaks", "failed"),
    [
        ("", []),
        ("url", ["test_other_servers_have_other_urls"]),
        ("parameters", ["test_a_request_has_the_parameters"]),
        ("correction", ["test_a_question_is_asked_again_with_what_was_wrong"]),
        ("raises", ["test_no_body_raises"]),
        ("status", ["test_errors_that_pass_differ_from_those_that_last"]),
        ("header", ["test_no_error_raises"]),
    ],
)
def test_a_dialect_that_breaks_a_rule_fails_its_test(breaks, failed):
    class Contract(DialectContract):
        def dialect(self, settings):
            dialect = OwnDialect(settings)
            dialect.breaks = breaks
            return dialect

        def answer(self, text):
            choice = {"message": {"content": text}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 12, "completion_tokens": 9}
            return json.dumps({"choices": [choice], "usage": usage}).encode()

        def stream(self, text):
            return None

        def passing(self):
            return [(429, {"retry-after": "2"}, b"{}")]

        def lasting(self):
            return [(401, {}, b"{}")]

    assert failures(Contract) == failed
