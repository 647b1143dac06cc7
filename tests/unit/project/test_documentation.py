"""Links and paths in the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from actors.core.messages import protocols
from actors.runtime.plugins import PluginGroup
from cluster.config.model import load
from tests.unit.project.test_imports import ORDER

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_TOPS = "actors|benchmarks|cluster|configs|docs|examples|headrace|simulators|tests|tools"
_PATH = re.compile(rf"`((?:{_TOPS})/[\w./-]*)`")


def text_of(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, formed as GitHub forms them."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def name(page: Path) -> str:
    """Return what a test is called after."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page):
    dead = []
    for link in _LINK.findall(text_of(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_of_the_repository_that_a_page_names_exists(page):
    assert [path for path in _PATH.findall(text_of(page)) if not (ROOT / path).exists()] == []


def test_the_architecture_lists_the_packages_in_the_order_in_which_they_may_be_imported():
    drawn = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("## Packages")[1]
    block = drawn.split("```")[1]
    listed = re.findall(r"^([a-z_][\w.]+) ", block, re.MULTILINE)
    assert tuple(reversed(listed)) == ORDER


def test_the_architecture_names_only_messages_that_exist():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    parts = page.split("## Messages")[1].split("## The way of a map")[0]
    named = {*re.findall(r"`([A-Z]\w+)`", parts)}
    defined = [path.read_text(encoding="utf-8") for path in (ROOT / "actors/core/messages").glob("*.py")]
    assert len(named) > 30
    assert named <= {*re.findall(r"^class (\w+)\(", "".join(defined), re.MULTILINE)}


def test_the_architecture_names_every_request():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## Messages")[1].split("## The way of a call")[0]
    requests = [
        protocols.ToDispatcher,
        protocols.ToClient,
        protocols.ToSource,
        protocols.ToPipeline,
        protocols.ToJournal,
    ]
    names = {each.__name__ for request in requests for each in get_args(request) or (request,)}
    assert names - {*re.findall(r"`(\w+)`", table)} == set()


def test_each_decision_has_a_number_of_its_own_which_its_heading_repeats():
    numbers = {}
    for page in sorted((ROOT / "docs" / "decisions").glob("0*.md")):
        number = int(page.name[:4])
        assert page.read_text(encoding="utf-8").startswith(f"# {number}. "), page.name
        assert number not in numbers, f"{page.name} and {numbers[number]}"
        numbers[number] = page.name
    assert sorted(numbers) == [*range(1, len(numbers) + 1)]


def test_the_pages_name_every_group_of_plug_ins():
    kinds = [group.removeprefix("headrace.").removesuffix("s") for group in PluginGroup]
    for page, sign in (
        ("extending", "Another package can add"),
        ("configuration", "Other packages can add"),
        ("glossary", "| plug-in |"),
    ):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        listed = text.partition(sign)[2].partition("\n\n" if sign != "| plug-in |" else "\n")[0]
        assert [kind for kind in kinds if kind not in listed] == [], page
    blocks = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    assert {*re.findall(r'^\[project\.entry-points\."(.*)"\]$', blocks, re.MULTILINE)} == {*PluginGroup}


def test_the_configuration_of_the_tutorial_is_valid(tmp_path):
    whole, *parts = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs" / "tutorial.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(parts) == 3
    for part in ("", *parts):
        changed = {line.split(":")[0] for line in part.splitlines() if line[:1].isalpha()}
        kept = re.split(r"^(?=\w)", whole, flags=re.MULTILINE)
        path = tmp_path / "my.yaml"
        path.write_text("".join(section for section in kept if section.split(":")[0] not in changed) + part)
        load(path, env={"OPENAI_API_KEY": "a-key", "SHOP_TOKEN": "t0ken"})
