"""The service's pages run no text of tasks, sources or models, and ask no other address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.http.routes import pages
from tests.unit.support.http_service import TOKENS, Service

ASSETS = Path(pages.__file__).parent / "assets"


@pytest.fixture
async def service():
    async with Service(TOKENS).running() as running:
        yield running


@pytest.mark.parametrize("path", sorted(ASSETS.glob("*.html")), ids=lambda path: path.name)
def test_a_frame_has_no_handler_no_style_and_no_address_of_others(path):
    text = path.read_text()
    assert re.findall(r"<iframe|<img|<[^>]+\s(?:on\w+|style)=|https?://", text) == []
    assert set(re.findall(r'href="([^"]*)"', text)) <= {
        "data:,", "/", "/docs", "/openapi.json", "#tasks-title"
    }  # fmt: skip
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_needs_no_token_and_runs_its_own_scripts_only(service, path):
    page = await service("GET", path)
    assert page.status == 200
    text, policy = page.body.decode(), page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    scripts = re.search(r"script-src ((?:'sha256-[^']+' ?)+)(;|$)", policy)[1].split()
    assert len(scripts) == text.count("<script>") >= 4
    assert "<!-- scripts -->" not in text
    assert len(page.body) < 200_000


async def test_a_browser_that_has_the_page_gets_it_not_again(service):
    page = await service("GET", "/")
    again = await service("GET", "/", if_none_match=page.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert (await service("GET", "/docs", if_none_match=page.headers["etag"])).status == 200
