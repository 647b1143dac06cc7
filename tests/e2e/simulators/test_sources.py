"""Simulated data sources over HTTP."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import pytest

from simulators.process import SimulatorProcess


@pytest.fixture(scope="module")
def simulator():
    with SimulatorProcess("sources", ["--seed", "3", "--dead", "gone"]) as process:
        yield process


@pytest.fixture
async def get(simulator):
    """Ask the simulator that all tests here share, so that each has keys of its own where tries count."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=100)) as session:

        async def fetch(path: str):
            url = path if path.startswith("http") else f"{simulator.url}/{path}"
            async with session.get(url) as answer:
                return answer.status, await answer.json()

        yield fetch


async def test_a_source_tells_the_same_about_a_key_each_time_and_different_things_about_others(get):
    status, first = await get("wire/acme?items=3&latency_s=0")
    assert status == 200
    assert first == (await get("wire/acme?items=3&latency_s=0"))[1]
    assert len({item["text"] for item in first["results"]}) == 3
    assert all(1 <= item["rating"] <= 5 and item["title"] for item in first["results"])
    assert first["results"] != (await get("news/acme?items=3&latency_s=0"))[1]["results"]
    assert first["results"] != (await get("wire/other?items=3&latency_s=0"))[1]["results"]


@pytest.mark.parametrize("by", ["next", "cursor"])
async def test_pages_are_followed_by_link_or_by_cursor_to_the_same_whole(get, by):
    whole = (await get("wire/acme?items=7&latency_s=0"))[1]
    assert whole["next"] is whole["cursor"] is None
    path = "wire/acme?items=7&latency_s=0&page_size=3"
    found, sizes = [], []
    following: str | None = path
    while following:
        _, page = await get(following)
        found += page["results"]
        sizes.append(len(page["results"]))
        following = page[by] and (page["next"] if by == "next" else f"{path}&cursor={page['cursor']}")
    assert found == whole["results"]
    assert sizes == [3, 3, 1]


async def test_a_key_may_hold_any_character(get):
    status, page = await get("wire/a%2Fb%20c?items=2&latency_s=0&page_size=1")
    assert status == 200
    assert "a/b c" in page["results"][0]["text"]
    _, second = await get(page["next"])
    assert "a/b c" in second["results"][0]["text"]


async def test_failures_come_at_their_rate_and_a_retry_may_succeed(get):
    first = [(await get(f"wire/k{n}?latency_s=0&failure_rate=0.5"))[0] for n in range(100)]
    assert set(first) == {200, 500}
    assert 30 <= first.count(500) <= 70
    failed = [n for n, status in enumerate(first) if status == 500]
    again = [(await get(f"wire/k{n}?latency_s=0&failure_rate=0.5"))[0] for n in failed]
    assert set(again) == {200, 500}


async def test_a_dead_source_fails_always_and_the_others_never(get):
    assert (await get("gone/acme?latency_s=0"))[0] == 503
    assert (await get("wire/acme?latency_s=0"))[0] == 200


async def test_a_source_takes_about_the_time_it_was_asked_to_take(get):
    began = time.monotonic()
    await asyncio.gather(*(get(f"wire/timed{n}?latency_s=0.5") for n in range(100)))
    assert 0.5 < time.monotonic() - began < 30.0  # one after the other they would take 50 s


@pytest.mark.parametrize(
    "path", ["wire", "wire/a?items=-1", "wire/a?items=many", "wire/a?failure_rate=2", "wire/a?page_size=0"]
)
async def test_a_question_that_makes_no_sense_is_refused(get, path):
    status, answer = await get(path)
    assert status == 400
    assert answer["error"]


async def test_statistics_count_each_source(get):
    before = (await get("stats"))[1]
    await get("wire/a?items=3&latency_s=0")
    await get("wire/b?items=2&latency_s=0")
    await get("wire/c?items=2&latency_s=0&failure_rate=1")
    await get("gone/a")
    after = (await get("stats"))[1]
    for source, counts in (("gone", (1, 1, 0)), ("wire", (3, 1, 5))):
        known = before.get(source, {})
        names = ("requests", "failed", "items")
        assert tuple(after[source][name] - known.get(name, 0) for name in names) == counts


async def test_a_page_of_another_site_may_not_read_the_statistics(simulator):
    async with aiohttp.ClientSession() as session:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            async with session.get(f"{simulator.url}/stats", headers=headers) as answer:
                assert answer.status == 403
                assert "evil.example" in (await answer.json())["error"]
