"""The files source on a disk and in memory: what it finds and refuses, and that nothing leaves its root."""

from __future__ import annotations

import errno
import os
import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import ValidationError

from actors.core.errors import ConfigError, SourceError, SourceUnavailableError
from actors.core.messages.tasks import Task
from actors.llm.requests.attachments import AttachmentReader, AttachmentSettings
from actors.pipeline.step_question import locations_in
from actors.runtime import local_files
from actors.sources.files import trees as file_trees
from actors.sources.files.source import FilesSettings


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A working directory with data/a/{one,two}.md and a secret beside data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "data/a/one.md").write_text("1")
    (tmp_path / "data/a/two.md").write_text("2")
    (tmp_path / "secret.md").write_text("secret")
    return tmp_path / "data"


@pytest.fixture
def memory():
    """fsspec's file system in memory, which the whole process shares."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


async def fetch(path: str, key: str = "a", params=None, **options):
    source = FilesSettings(name="notes", kind="files", path=path, **options).build()
    return await source.fetch(Task(key, params or {}))


async def test_files_come_in_the_order_of_their_paths_and_know_them(data):
    items = await fetch("data/{key}/*.md", root="data")

    assert [(item.id, item.text, item.fields["path"]) for item in items] == [
        ("notes:a/one.md", "1", "a/one.md"),
        ("notes:a/two.md", "2", "a/two.md"),
    ]


async def test_an_image_or_a_document_is_an_item_without_text_that_says_where_it_is(data, memory):
    (data / "a/b.PNG").write_bytes(b"\x89PNG\xff" + bytes(2**21))
    (data / "a/c.pdf").write_bytes(b"%PDF-\xff")
    memory.pipe("/data/a/d.jpg", b"\xff")

    found = await fetch("data/{key}/[b-z].*")
    assert [(item.id, item.text, item.fields) for item in found] == [
        ("notes:a/b.PNG", "", {"path": "data/a/b.PNG"}),
        ("notes:a/c.pdf", "", {"path": "data/a/c.pdf"}),
    ]
    async with AttachmentReader(AttachmentSettings()).read(locations_in(found[1].fields, ["path"])) as files:
        assert [file.type for file in files] == ["application/pdf"]
    [absolute] = await fetch(f"{data}/{{key}}/*.pdf")
    assert absolute.fields == {"path": f"{data}/a/c.pdf"}
    [remote] = await fetch("memory://data/{key}/*.jpg")
    assert (remote.id, remote.fields) == ("notes:a/d.jpg", {"path": "memory://data/a/d.jpg"})


async def test_an_image_outside_of_the_root_is_refused_as_other_files_are(data):
    (data.parent / "secret.png").write_bytes(b"\x89PNG")
    (data / "a/link.png").symlink_to(data.parent / "secret.png")
    with pytest.raises(SourceError, match=r"a/link.png leads out of the root data"):
        await fetch("data/{key}/*.png")


async def test_the_root_is_by_default_the_part_of_the_path_that_is_fixed(data):
    assert [item.id for item in await fetch("data/{key}/*.md")] == ["notes:a/one.md", "notes:a/two.md"]
    assert [item.id for item in await fetch(f"file://{data}/{{key}}/one.md")] == ["notes:a/one.md"]


@pytest.mark.parametrize("path", ["data/{key}/*.md", "data/{key}/one.md", "nowhere/{key}/x.md"])
async def test_a_task_without_files_has_no_items(data, path):
    assert await fetch(path, "nobody") == ()


async def test_a_key_with_wildcards_finds_only_the_folder_of_that_name(data):
    (data / "*").mkdir()
    (data / "*/star.md").write_text("s")

    assert [item.text for item in await fetch("data/{key}/*.md", "*")] == ["s"]


async def test_a_key_may_name_a_folder_in_a_folder(data):
    (data / "a/deep").mkdir()
    (data / "a/deep/three.md").write_text("3")

    assert [item.text for item in await fetch("data/{key}/*.md", "a/deep")] == ["3"]


async def test_two_stars_reach_any_depth_and_skip_hidden_folders(data):
    for folder in ("deep/er", ".git"):
        (data / "a" / folder).mkdir(parents=True)
        (data / "a" / folder / "x.md").write_text(folder)

    assert [item.id for item in await fetch("data/{key}/**/*.md")] == [
        "notes:a/deep/er/x.md",
        "notes:a/one.md",
        "notes:a/two.md",
    ]


async def test_a_link_upwards_does_not_make_the_tree_endless(data):
    (data / "a/loop").symlink_to(data / "a")
    (data / "a/itself").symlink_to(data / "a/itself")

    assert len(await fetch("data/{key}/**/*.md")) == 2


@pytest.mark.parametrize("key", ["../secret", "..", "/etc", "a/../../secret"])
async def test_a_key_cannot_leave_the_root(data, key):
    with pytest.raises(SourceError, match="hidden values are not allowed"):
        await fetch("data/{key}.md", key)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("data/{key}/*.md", "."),
        ("data/{key}/*.md", "./a"),
        ("data/{key}/*.md", "a/."),
        ("data/{key}/*.md", ""),
        ("data/{key}/*", ".git"),
        ("data/{key}/*", "a/.git"),
        ("{key}", ".env"),
        ("data/{key}{b}/secret.md", "."),
    ],
)
async def test_a_key_cannot_stand_for_the_folder_of_all_tasks_or_for_a_hidden_name(data, path, key):
    (data / "a/.git").mkdir()
    (data / "a/.git/config").write_text("hidden")
    (data / "all.md").write_text("of all tasks")
    with pytest.raises(SourceError, match=r"hidden values are not allowed|would name a hidden file"):
        await fetch(path, key, {"b": "."})


async def test_a_dot_within_a_name_is_as_good_as_any_character(data):
    assert [item.text for item in await fetch("data/a/{key}{ext}", "one", {"ext": ".md"})] == ["1"]
    (data / ".hidden").mkdir()
    (data / ".hidden/x.md").write_text("wanted")
    assert [item.text for item in await fetch("data/.hidden/{key}.md", "x")] == ["wanted"]


async def test_a_key_with_half_of_a_character_is_refused(data):
    with pytest.raises(SourceError, match="half of a character"):
        await fetch("data/{key}.md", "\ud800")


async def test_a_configured_path_outside_its_root_is_refused(data):
    with pytest.raises(SourceError, match="leads out of the root"):
        await fetch("{key}.md", "secret", root="data")


@pytest.mark.parametrize("target", ["../../secret.md", "/proc/self/environ"])
async def test_a_link_that_leads_out_of_the_root_is_refused(data, target):
    (data / "a/link.md").symlink_to(target)

    with pytest.raises(SourceError, match=r"link\.md leads out of the root"):
        await fetch("data/{key}/*.md")


async def test_a_folder_link_that_leads_out_of_the_root_is_refused(data):
    (data / "out").symlink_to(data.parent)

    with pytest.raises(SourceError, match="leads out of the root"):
        await fetch("data/{key}/*.md", "out")


async def test_a_link_within_the_root_is_followed(data):
    (data / "b").mkdir()
    (data / "b/link.md").symlink_to("../a/one.md")

    assert [(item.id, item.text) for item in await fetch("data/{key}/*.md", "b")] == [
        ("notes:b/link.md", "1")
    ]


async def test_the_root_itself_may_be_reached_by_a_link(data):
    (data.parent / "alias").symlink_to("data")

    assert [item.id for item in await fetch("alias/{key}/one.md")] == ["notes:a/one.md"]


async def test_a_folder_exchanged_for_a_link_after_the_check_is_not_followed(data, monkeypatch):
    (data / "b").mkdir()
    (data / "b/secret.md").write_text("harmless")
    real = os.path.realpath

    def resolve_then_exchange(path, **options):
        resolved = real(path, **options)
        if str(path).endswith("secret.md"):
            (data / "b").rename(data / "was")
            (data / "b").symlink_to(data.parent)
        return resolved

    monkeypatch.setattr(file_trees.os.path, "realpath", resolve_then_exchange)
    with pytest.raises(SourceError, match="cannot be read"):
        await fetch("data/{key}/secret.md", "b")


async def test_a_pipe_is_refused_and_not_waited_for(data):
    os.mkfifo(data / "a/pipe.md")

    with pytest.raises(SourceError, match="not a regular file"):
        await fetch("data/{key}/*.md")


async def test_a_folder_is_skipped_by_a_wildcard_and_refused_by_its_name(data):
    (data / "a/folder.md").mkdir()

    assert len(await fetch("data/{key}/*.md")) == 2
    with pytest.raises(SourceError, match="not a regular file"):
        await fetch("data/{key}/folder.md")


async def test_a_file_that_changes_while_it_is_read_is_asked_for_again(data, monkeypatch):
    read_up_to = local_files.read_up_to

    def read_while_it_grows(file, size):
        found = read_up_to(file, size)
        (data / "a/one.md").write_text("1 and more")
        return found

    monkeypatch.setattr(local_files, "read_up_to", read_while_it_grows)
    with pytest.raises(SourceUnavailableError, match="changed while it was read"):
        await fetch("data/{key}/one.md")


async def test_a_folder_that_cannot_be_listed_does_not_pass_for_an_empty_one(data, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(file_trees.os, "scandir", refuse)
    with pytest.raises(SourceError, match="cannot be read: Permission denied") as caught:
        await fetch("data/{key}/*.md")
    assert not caught.value.retry


async def test_a_system_that_is_out_of_files_is_asked_again(data, monkeypatch):
    def refuse(path):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(file_trees.os, "scandir", refuse)
    with pytest.raises(SourceUnavailableError, match="cannot be read now"):
        await fetch("data/{key}/*.md")


async def test_a_long_file_is_refused_unless_it_may_be_cut(data):
    (data / "a/one.md").write_text("aéé")

    with pytest.raises(SourceError, match="larger than max_bytes = 4"):
        await fetch("data/{key}/one.md", max_bytes=4)
    [item] = await fetch("data/{key}/one.md", max_bytes=4, truncate=True)
    assert (item.text, item.fields["truncated"]) == ("aé", True)
    [item] = await fetch("data/{key}/one.md", max_bytes=5)
    assert item.text == "aéé"


async def test_too_many_files_are_an_error_and_not_a_part(data):
    assert len(await fetch("data/{key}/*.md", max_files=2)) == 2
    with pytest.raises(SourceError, match="more than max_files = 1"):
        await fetch("data/{key}/*.md", max_files=1)


async def test_too_many_items_over_all_files_are_an_error(data):
    with pytest.raises(SourceError, match="more than max_items = 1"):
        await fetch("data/{key}/*.md", max_items=1)


async def test_names_that_are_not_utf8_are_escaped_and_stay_apart(data):
    (data / os.fsdecode(b"a/\xff.txt")).write_text("t")
    (data / os.fsdecode(b"a/\xfe.txt")).write_text("u")

    items = await fetch("data/{key}/*.txt")
    assert [(item.id, item.text) for item in items] == [
        (r"notes:a/\xfe.txt", "u"),
        (r"notes:a/\xff.txt", "t"),
    ]
    assert items[0].fields["path"] == r"a/\xfe.txt"


@pytest.mark.parametrize("options", [{"max_bytes": 1}, {}])
async def test_an_error_about_a_name_that_is_not_utf8_can_be_written_down(data, options):
    """A half of a character in an error could not be stored, which ended the run."""
    name = data / os.fsdecode(b"a/\xff.json")
    name.write_text("{oops")
    with pytest.raises(SourceError, match=r"\\xff\.json") as caught:
        await fetch("data/{key}/*.json", **options)
    str(caught.value).encode()


@pytest.mark.parametrize("target", ["../../secret.md", "nowhere"])
async def test_an_error_about_a_link_whose_name_is_not_utf8_can_be_written_down(data, target):
    (data / os.fsdecode(b"a/\xff.md")).symlink_to(target)
    with pytest.raises(SourceError, match=r"\\xff\.md") as caught:
        await fetch("data/{key}/*.md")
    str(caught.value).encode()


async def test_paragraphs_of_a_file_become_items(data):
    (data / "a/one.md").write_text("p\n\nq\n")

    assert [item.id for item in await fetch("data/{key}/one.md", split="paragraphs")] == [
        "notes:a/one.md#0",
        "notes:a/one.md#1",
    ]


async def test_files_in_another_file_system_are_found_below_their_root(memory):
    memory.pipe("/docs/a/n.md", b"in memory")
    memory.pipe("/docs/b/n.md", b"other")

    assert [(item.id, item.text) for item in await fetch("memory://docs/{key}/*.md")] == [
        ("notes:a/n.md", "in memory")
    ]
    assert [item.id for item in await fetch("memory://docs/{key}/*.md", root="memory://docs/a")] == [
        "notes:n.md"
    ]
    assert await fetch("memory://docs/{key}/*.md", "nobody") == ()


class Cached(MemoryFileSystem):
    """A file system that remembers its listings, as those of object stores do."""

    protocol = "cached-for-a-test"
    listings: dict = {}  # noqa: RUF012 - shared by all instances, as the files are

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("cached-for-a-test://"))

    def glob(self, path, **options):
        return self.listings.setdefault(path, super().glob(path, **options))

    def invalidate_cache(self, path=None):
        self.listings.clear()


async def test_a_file_written_since_the_last_fetch_is_seen(memory):
    fsspec.register_implementation("cached-for-a-test", Cached, clobber=True)
    path = "cached-for-a-test://docs/{key}/*.md"
    memory.pipe("/docs/a/n.md", b"1")
    assert len(await fetch(path)) == 1
    memory.pipe("/docs/a/m.md", b"2")

    assert len(await fetch(path)) == 2


async def test_the_root_holds_in_another_file_system(memory):
    memory.pipe("/docs/b/n.md", b"other")

    with pytest.raises(SourceError, match="leads out of the root"):
        await fetch("memory://docs/{key}/*.md", "b", root="memory://docs/a")


async def test_a_key_that_looks_like_a_url_is_a_name(data, memory):
    memory.pipe("/docs/n.md", b"in memory")

    assert await fetch("{key}", "memory://docs/n.md") == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "data/{key.x}"}, "not a plain name"),
        ({"path": "https://h/{key}"}, "kind http"),
        ({"path": "simplecache::memory://{key}"}, "chained"),
        ({"path": "zip://{key}::file:///x.zip"}, "chained"),
        ({"path": "{key}", "encoding": "utf-9"}, "unknown encoding"),
        ({"path": "memory://{key}", "root": "data"}, "different file systems"),
        ({"path": "{key}", "max_byte": 1}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        FilesSettings(name="notes", kind="files", **options)


def test_a_file_system_that_is_an_extra_is_a_configuration_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"s3://x/.*requires the package s3fs.*'headrace\[s3\]'"):
        FilesSettings(name="notes", kind="files", path="s3://x/{key}").build()


def test_a_file_system_that_is_not_installed_is_a_configuration_error():
    with pytest.raises(ConfigError, match=r"nosuch://.* cannot be used"):
        FilesSettings(name="notes", kind="files", path="nosuch://x/{key}").build()
