"""The scripts of all pages make text of all that they show, and what others wrote is as they published it."""

import hashlib
import re
from pathlib import Path

import pytest

import cluster.web
from cluster.web.document import SHARED

UPLOT = SHARED / "uplot"
# Of the package uplot 1.6.32 in the npm registry.
PUBLISHED = {
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
SCRIPTS = sorted(Path(cluster.web.__file__).parents[1].glob("**/assets/*.js"))
MARKUP = (
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|\.href\b|\.src\b"
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_makes_text_of_all_that_it_shows(path):
    text = path.read_text("utf-8")
    assert re.findall(MARKUP, text) == []
    assert len(text.splitlines()) < 500
    assert "</script" not in text


def test_uplot_is_the_published_version_with_its_licence():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in UPLOT.iterdir()}
    assert found == PUBLISHED
    assert "(v1.6.32)" in (UPLOT / "uPlot.iife.min.js").read_text("utf-8")[:80]
