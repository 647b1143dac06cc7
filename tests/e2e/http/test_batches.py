"""Many tasks in one request."""

from __future__ import annotations

import asyncio
import json

from tests.e2e.http.conftest import ROOM


def lines_of(*documents):
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


async def test_a_batch_is_accepted_line_by_line_and_followed_to_its_end(ann, name):
    body = lines_of({"key": f"{name}-a"}, {"key": ""}, {"params": {"n": 3}}) + b"\n{broken\n" + b'{"key": 5}'
    answer = await ann.send("POST", "/v1/batches", body, Content_Type="application/x-ndjson")
    assert answer.status == 202
    told = answer.json
    assert (told["accepted"], told["new"], told["refused"]) == (2, 2, 3)
    assert [(each["line"], each["status"]) for each in sorted(told["errors"], key=lambda e: e["line"])] == [
        (2, 422),
        (5, 400),
        (6, 422),
    ]
    events = [event async for event in ann.events(told["links"]["events"])]
    assert [number for number, _, _ in events] == sorted({number for number, _, _ in events})
    assert {data["task"] for _, _, data in events} == {f"{name}-a", f"{told['id']}-3"}
    assert sum(kind == "ended" for _, kind, _ in events) == 2
    batch = (await ann("GET", told["links"]["self"])).json
    assert (batch["state"], batch["tasks"]["accepted"], batch["tasks"]["succeeded"]) == ("succeeded", 2, 2)
    assert (await ann("GET", f"/v1/tasks/{name}-a")).json["batch"] == told["id"]


async def test_a_stream_of_a_batch_goes_on_where_it_was_cut(ann, name):
    told = (await ann("POST", "/v1/batches", [{"key": f"{name}-{n}"} for n in range(3)])).json
    first = []
    async for event in ann.events(told["links"]["events"]):
        first.append(event)
        if len(first) == 5:
            break
    rest = [event async for event in ann.events(told["links"]["events"], after=first[-1][0])]
    whole = [event async for event in ann.events(told["links"]["events"])]
    assert first + rest == whole
    last = await ann("GET", told["links"]["events"], Last_Event_ID=str(whole[-1][0]))
    assert last.status == 204


async def test_a_batch_that_is_larger_than_the_backlog_is_taken_in_as_there_is_room(ann, endpoint, name):
    async def lines():
        for n in range(ROOM + 2):
            yield lines_of({"key": f"{name}-{n}"})
            await asyncio.sleep(0)

    await endpoint.hold()
    asking = asyncio.create_task(
        ann.send("POST", "/v1/batches", lines(), Content_Type="application/x-ndjson")
    )
    await ann.statistics(lambda known: known["tasks"]["unfinished"] == ROOM)
    await endpoint.release()
    answer = await asking
    assert (answer.status, answer.json["accepted"], answer.json["refused"]) == (202, ROOM + 2, 0)
    seen = [
        data["task"] async for _, kind, data in ann.events(answer.json["links"]["events"]) if kind == "ended"
    ]
    assert sorted(seen) == sorted(f"{name}-{n}" for n in range(ROOM + 2))
