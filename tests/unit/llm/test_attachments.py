"""Files that are sent with a prompt: where they may lie, what they may be, and how much memory they take."""

from __future__ import annotations

import asyncio
import base64
import os
import threading

import orjson
import pytest
from pydantic import ValidationError

from actors.core.errors import SourceBoundError, SourceError
from actors.core.limits.token_estimate import text_tokens
from actors.core.messages.calls import Correction
from actors.core.task.attachments import AttachmentRules
from actors.llm.dialects.registry import dialect_names, dialect_of
from actors.llm.endpoint import EndpointSettings
from actors.llm.forms import AnswerForm
from actors.llm.requests import attachments
from actors.llm.requests.attachment_urls import is_below
from actors.llm.requests.attachments import AttachedFile, AttachmentReader, AttachmentSettings, shown

PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)
ASKED_IN = ("messages", "input", "contents")
PDF = b"%PDF-1.7\n" + bytes(range(256))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.txt").write_bytes(PNG)  # the name is wrong
    (tmp_path / "in" / "note.txt").write_text("\ufeffgrüezi", encoding="utf-8")
    (tmp_path / "in" / "paper.pdf").write_bytes(PDF)
    (tmp_path / "in" / "program").write_bytes(b"\x7fELF\xff\xfe")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "in" / "loop").symlink_to("loop")
    (tmp_path / "in" / ".headrace").mkdir()
    for name in (".env", ".headrace/token"):
        (tmp_path / "in" / name).write_text("secret")
    (tmp_path / "in" / "visible").symlink_to(tmp_path / "in" / ".env")
    os.mkfifo(tmp_path / "in" / "pipe")
    return tmp_path / "in"


async def read(folder, *locations, **settings):
    reader = AttachmentReader(AttachmentSettings(directory=str(folder), **settings))
    async with reader.read(locations) as files:
        return files


async def test_the_first_bytes_decide_the_type_of_a_file(folder):
    inline = "data:image/gif;base64," + base64.b64encode(b"GIF89a...").decode()

    files = await read(
        folder, "photo.txt", "note.txt", str(folder / "paper.pdf"), inline, "data:,hello%20you"
    )

    assert [(file.name, file.type) for file in files] == [
        ("photo.txt", "image/png"),
        ("note.txt", "text/plain"),
        ("paper.pdf", "application/pdf"),
        ("file", "image/gif"),
        ("file", "text/plain"),
    ]
    assert (files[1].text, files[4].text) == ("grüezi", "hello you")


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("missing.png", "missing.png: No such file"),
        ("../secret.txt", "outside of"),
        ("link", "outside of"),
        ("/etc/hostname", "set llm.attachments.directory to its folder"),
        (".env", "it is a hidden file"),
        ("visible", "it is a hidden file"),
        ("x/../.headrace/token", "in a hidden folder"),
        ("file:///etc/hostname", "the scheme must be one of s3,"),
        ("simplecache::s3://b/x", "the scheme must be one of"),
        ("memory://x", "the scheme must be one of"),
        ("http://127.0.0.1:1/x", "loopback; set llm.attachments.allow_private: true to reach it"),
        ("http://169.254.169.254/latest", "link-local"),
        ("program", "it is not a PNG, JPEG, GIF or WebP image, a PDF document or UTF-8 text"),
        ("data:text/plain;base64", "needs a comma"),
        ("data:;base64,%%%", "not base64"),
        ("null\0byte", "null"),
        ("x" * 300, "File name too long"),
        ("loop", "loop: Too many levels of symbolic links"),
        ("pipe", "pipe is not a regular file"),
        (".", "not a regular file"),
        ("note.txt/x", "note.txt/x: "),
    ],
)
async def test_a_file_that_may_not_be_sent_is_named_with_the_reason(folder, location, said):
    with pytest.raises(SourceError, match=said) as raised:
        await read(folder, location)
    assert "secret" not in str(raised.value).replace("secret.txt", "")
    assert not raised.value.retry


async def test_an_error_that_a_library_raises_is_that_of_the_file(folder, monkeypatch):
    class NoCredentialsError(Exception):
        pass

    def refuse(*_):
        raise NoCredentialsError("unable to locate credentials")

    monkeypatch.setattr(attachments, "_opened", refuse)
    with pytest.raises(SourceError, match=r"s3://b/x: NoCredentialsError: unable to locate credentials"):
        await read(folder, "s3://b/x")


@pytest.mark.parametrize(
    ("location", "seen"),
    [
        ("https://h.test/a.png?sig=secret", "https://h.test/a.png"),
        ("https://h.test/a.png?secret", "https://h.test/a.png"),
        ("https://h.test/a.png#access=secret", "https://h.test/a.png"),
        ("https:/h.test/a.png?sig=secret", "https:/h.test/a.png"),
        ("h.test/a.png?code=secret", "h.test/a.png"),
        ("//h.test/a.png#access=secret", "//h.test/a.png"),
        ("https://ann:secret@h.test/a.png", "https://***@h.test/a.png"),
        ("https://secret@h.test/a.png", "https://***@h.test/a.png"),
        ("https:/ann:secret@h.test/a.png", "https:/***@h.test/a.png"),
        ("s3://ann:sec/ret@bucket/a.png", "s3://***@bucket/a.png"),
        ("photos/no. #1 (why?).png", "photos/no. #1 (why?).png"),
        ("data:image/png;base64,secret", "data:image/png;base64"),
    ],
)
async def test_the_secrets_in_a_location_are_not_shown(folder, location, seen, monkeypatch):
    assert shown(location) == seen

    def refuse(*_):
        raise RuntimeError(f"no {location}, {location.partition('://')[2]}")

    monkeypatch.setattr(AttachmentReader, "_bytes", refuse)
    with pytest.raises(SourceError, match=r"RuntimeError: no ") as raised:
        await read(folder, location)
    assert "secret" not in str(raised.value)
    assert "sec/ret" not in str(raised.value)


@pytest.mark.parametrize(
    ("location", "is_allowed"),
    [
        ("s3://ours/photos/a.png", True),
        ("s3://ours/photos-of-others/a.png", False),
        ("s3://ours/photos/../a.png", False),
        ("s3://theirs/photos/a.png", False),
        ("gs://ours/photos/a.png", False),
        ("https://Files.test:443/a.png?sig=1", True),
        ("https://files.test/pub/..%2f..%2fa.png", False),
        ("https://files.test/pub/%2e%2e/a.png", False),
        ("https://files.test.evil.test/a.png", False),
        ("https://files.test@evil.test/a.png", False),
        ("https:files.test/a.png", False),
        ("http://files.test/a.png", False),
        ("file:///etc/hostname", False),
    ],
)
def test_a_url_is_allowed_below_the_prefixes_of_the_settings(location, is_allowed):
    assert is_below(location, ("s3://ours/photos/", "https://files.test/")) == is_allowed


@pytest.mark.parametrize(
    "location", ["s3://theirs/a", "https://host.test/a", "HTTP:x", "file:///etc/hostname"]
)
async def test_no_url_is_read_if_the_settings_allow_none(folder, location):
    with pytest.raises(SourceError, match="may not be read here; add its folder"):
        await read(folder, location, urls=())
    assert await read(folder, "note.txt", "data:,x", urls=())


@pytest.mark.parametrize(
    "prefix", ["s3://bucket", "https://host/x", "ftp://host/", "https:///", "s3://b/?x/"]
)
def test_a_prefix_of_urls_names_a_host_or_bucket_and_ends_with_a_slash(prefix):
    with pytest.raises(ValidationError, match="urls"):
        AttachmentSettings(urls=(prefix,))


async def test_a_file_above_its_bound_says_which_key_to_raise(folder):
    with pytest.raises(SourceBoundError, match=r"paper.pdf: .* 100 bytes; raise llm.attachments.max_bytes"):
        await read(folder, "note.txt", "paper.pdf", max_bytes=100)


async def test_a_call_waits_until_there_is_room_for_its_files(folder):
    reader = AttachmentReader(AttachmentSettings(directory=str(folder), max_bytes=1000), held=4000)
    async with reader.read(["paper.pdf"]):
        second = asyncio.ensure_future(reader.read(["note.txt"]).__aenter__())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not second.done()
    assert (await second)[0].text == "grüezi"


async def test_the_room_of_files_that_could_not_be_read_is_free_again(folder):
    reader = AttachmentReader(AttachmentSettings(directory=str(folder), max_bytes=1000), held=1000)
    for _ in range(3):
        with pytest.raises(SourceError):
            async with reader.read(["note.txt", "missing"]):
                pass
    async with reader.read(["note.txt"]) as files:
        assert len(files) == 1


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.PDF", b" <!doctype html>Log in", "begins with a web page"),
        ("a.png", b"", "is empty"),
        ("a.webp", b"no image", "is a text"),
        ("data:image/png;base64,", None, "is empty"),
    ],
)
async def test_what_is_named_as_an_image_or_a_document_and_is_none_is_not_sent(folder, name, content, found):
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=f"named as an image or a PDF document, and it {found}"):
        await read(folder, name)


@pytest.mark.parametrize(
    ("name", "characters", "said"),
    [
        ("a.txt", 6000, None),
        (
            "a.txt",
            8000,
            r"about 2003 tokens, and only 2000 are reserved.*raise llm.attachments.max_text_tokens",
        ),
    ],
)
async def test_a_text_is_no_larger_than_what_a_budget_reserves_for_it(folder, name, characters, said):
    (folder / name).write_text("x" * characters)
    if said is None:
        (file,) = await read(folder, name, max_text_tokens=2000)
        rules = AttachmentRules(text_tokens=2000)
        assert text_tokens(file.part) <= rules.tokens([name]) <= 2000
    else:
        with pytest.raises(SourceBoundError, match=said):
            await read(folder, name, max_text_tokens=2000)


@pytest.mark.parametrize(("location", "reads"), [("note.txt", "read_beneath"), ("s3://b/x", "_opened")])
async def test_a_file_system_that_hangs_holds_no_thread_that_others_need(
    folder, monkeypatch, location, reads
):
    """Python waits at its exit for the threads of the event loop, which are also few."""
    threads, released = set(), threading.Event()

    def hang(*_):
        threads.add(threading.current_thread())
        released.wait(10)
        return b"late"

    monkeypatch.setattr(attachments, reads, hang)
    reader = AttachmentReader(AttachmentSettings(directory=str(folder)))
    calls = [asyncio.ensure_future(reader.read([location]).__aenter__()) for _ in range(20)]
    try:
        assert await asyncio.to_thread(lambda: 7) == 7
        assert 1 <= len(threads) <= 8
        assert all(thread.daemon for thread in threads)
    finally:
        released.set()
        await asyncio.gather(*calls)
        reader.close()


@pytest.mark.parametrize("name", dialect_names())
def test_a_dialect_that_takes_files_sends_their_bytes_beside_the_prompt(name):
    dialect = dialect_of(EndpointSettings(name="main", base_url="http://h/v1", model="m", dialect=name))
    given = {"image/png": PNG, "application/pdf": PDF}
    files = [AttachedFile("a.x", kind, data) for kind, data in given.items() if kind in dialect.attaches]
    prepared = dialect.prepare(AnswerForm("f", {}, 9))

    body = dialect.with_files(prepared, files).body("What is this?", None)

    asked = orjson.loads(body)
    assert [found for found in _texts(asked) if found in (file.base64 for file in files)] == [
        file.base64 for file in files
    ]
    assert "What is this?" in _texts(asked)
    corrected = dialect.with_files(prepared, files).body("What is this?", Correction("no", "not JSON"))
    assert corrected.count(b"What is this?") == 1
    orjson.loads(corrected)


def _texts(document):
    """Yield all texts in a body, with that after the comma of a data URL."""
    if isinstance(document, dict | list):
        each = document.values() if isinstance(document, dict) else document
        return [text for value in each for text in _texts(value)]
    return [document.rpartition("base64,")[2]] if isinstance(document, str) else []


@pytest.mark.parametrize(
    ("name", "image", "document"),
    [
        (
            "anthropic",
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "…"}},
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "…"}},
        ),
        (
            "responses",
            {"type": "input_image", "image_url": "data:image/png;base64,…", "detail": "auto"},
            {"type": "input_file", "filename": "a_b.pdf", "file_data": "data:application/pdf;base64,…"},
        ),
        (
            "gemini",
            {"inlineData": {"mimeType": "image/png", "data": "…"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "…"}},
        ),
        (
            "bedrock",
            {"image": {"format": "png", "source": {"bytes": "…"}}},
            {"document": {"name": "document 2", "format": "pdf", "source": {"bytes": "…"}}},
        ),
    ],
)
def test_files_stand_before_the_prompt_in_the_form_of_the_dialect(name, image, document):
    dialect = dialect_of(EndpointSettings(name="main", base_url="http://h/v1", model="m", dialect=name))
    files = [AttachedFile("a_b.png", "image/png", PNG), AttachedFile("a_b.pdf", "application/pdf", PDF)]

    body = dialect.with_files(dialect.prepare(AnswerForm("f", {}, 9)), files).body("hello", None)

    for file in files:
        body = body.replace(file.base64.encode(), "…".encode())
    (message,) = next(found for key, found in orjson.loads(body).items() if key in ASKED_IN)
    first, second, text = message.get("content") or message.get("parts")
    assert (first, second, text["text"]) == (image, document, "hello")
