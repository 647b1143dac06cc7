"""What others wrote among the shared files of pages is as they published it."""

import hashlib

from cluster.web.document import SHARED

UPLOT = SHARED / "uplot"
# Of the package uplot 1.6.32 in the npm registry.
PUBLISHED = {
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}


def test_uplot_is_the_published_version_with_its_licence():
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in UPLOT.iterdir()}
    assert found == PUBLISHED
    assert "(v1.6.32)" in (UPLOT / "uPlot.iife.min.js").read_text("utf-8")[:80]
