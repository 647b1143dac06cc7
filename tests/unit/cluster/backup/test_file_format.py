"""A backup is read as it was written, or refused with the place of the damage."""

from __future__ import annotations

import io
import random
import tracemalloc

import orjson
import pytest

from cluster.backup.file_format import MAGIC, BackupError, BackupReader, BackupWriter

ROWS = [(b"r%03d" % n, random.Random(n).randbytes(9_000)) for n in range(400)]


def written(rows=ROWS, **head):
    file = io.BytesIO()
    writer = BackupWriter(file, {"rows": 1, "made_at": 1.5, **head})
    for key, value in rows:
        writer.add(key, value)
    writer.end()
    assert (writer.count, writer.size) == (len(rows), len(file.getvalue()))
    return file.getvalue()


def read(data):
    reader = BackupReader(io.BytesIO(data), "b.backup")
    return list(reader.rows())


@pytest.mark.parametrize("rows", [[], [(b"k", b"")], ROWS, [(b"k", b"v" * 5_000_000), (b"l", b"w")]])
def test_rows_are_read_as_they_were_written(rows):
    assert read(written(rows)) == rows
    assert BackupReader(io.BytesIO(written()), "b.backup").head.made_at == 1.5


def test_a_file_that_ends_early_is_refused_wherever_it_ends():
    data = written(ROWS[:150])
    for size in [*range(60), *range(60, len(data), 49_999), len(data) - 1]:
        with pytest.raises(BackupError, match=r"is not whole: it ends at byte|is not a backup") as refused:
            read(data[:size])
        if size >= len(MAGIC):
            assert f"at byte {size}," in str(refused.value)


def test_a_flipped_bit_is_refused_wherever_it_is():
    data = bytearray(written(ROWS[:150]))
    rng = random.Random(3)
    for at in [*range(60), *(rng.randrange(len(data)) for _ in range(100)), len(data) - 1]:
        bit = 1 << rng.randrange(8)
        data[at] ^= bit
        with pytest.raises(BackupError, match=r"b\.backup is (damaged|not whole|not a backup)"):
            read(bytes(data))
        data[at] ^= bit


def test_blocks_cannot_be_lost_repeated_or_added():
    whole = written()
    with pytest.raises(BackupError, match="something follows its end"):
        read(whole + b"x")
    at, blocks = len(MAGIC), []
    while at < len(whole):
        end = at + 20 + int.from_bytes(whole[at : at + 4], "big")
        blocks.append(whole[at:end])
        at = end
    for wrong in (
        blocks[:1] + blocks[2:],
        blocks[:2] + blocks[1:],
        [blocks[0], *blocks[2:0:-1], *blocks[3:]],
    ):
        with pytest.raises(BackupError, match="does not match its checksum"):
            read(MAGIC + b"".join(wrong))


def test_a_backup_of_a_newer_version_is_refused():
    with pytest.raises(BackupError, match="format version 2; this Headrace reads up to 1"):
        read(written([], version=2))


@pytest.mark.parametrize(
    "head",
    [{"version": "9"}, {"made_at": "abc"}, {"made_at": 1e300}, {"made_at": -1}],
    ids=str,
)
def test_a_head_of_wrong_values_is_damage(head):
    with pytest.raises(BackupError, match="is damaged at byte 16: the head or the end is wrong"):
        read(written([], **head))


@pytest.mark.parametrize("document", [b"{}", b"[]", b"not JSON", b"[" * 200_000], ids=len)
@pytest.mark.parametrize("whole_heads", [0, 1])
def test_a_head_or_an_end_that_is_no_document_is_damage(monkeypatch, document, whole_heads):
    documents = iter([orjson.dumps({"version": 1, "rows": 1, "made_at": 1.5})] * whole_heads + [document] * 2)
    monkeypatch.setattr("cluster.backup.file_format.orjson.dumps", lambda _: next(documents))
    data = written([])
    with pytest.raises(BackupError, match="the head or the end is wrong"):
        read(data)


def test_no_more_than_a_block_is_in_memory():
    data = written([(b"%06d" % n, b"x" * 9_000) for n in range(5_000)])
    tracemalloc.start()
    assert sum(1 for _ in BackupReader(io.BytesIO(data), "b").rows()) == 5_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
