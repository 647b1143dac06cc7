"""Which requests the server of a review answers."""

from __future__ import annotations

import pytest

from cluster.review.guard import HEADERS, refusal

TOKEN = "t0ken"  # noqa: S105 - of this test
HOST = {"Host": "127.0.0.1:8080"}
WITH = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({**HOST, **WITH}, None),
        ({"Host": "localhost:8080", **WITH}, None),
        ({**HOST, **WITH, "Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, None),
        (HOST, 401),
        ({**HOST, "Authorization": TOKEN}, 401),
        ({**HOST, "Authorization": f"Bearer {TOKEN}x"}, 401),
        ({**HOST, "Authorization": "Bearer \udcff"}, 401),
        ({**HOST, "Authorization": "Bearer "}, 401),
        ({**HOST, "Cookie": f"token={TOKEN}"}, 401),  # a browser adds cookies for other pages, too
        (WITH, 403),
        ({"Host": "evil.example:8080", **WITH}, 403),  # a name that was bound to 127.0.0.1
        ({"Host": "127.0.0.1:8081", **WITH}, 403),
        ({"Host": "127.0.0.1", **WITH}, 403),
        ({**HOST, **WITH, "Origin": "http://evil.example"}, 403),
        ({**HOST, **WITH, "Origin": "http://127.0.0.1:9"}, 403),
        ({**HOST, **WITH, "Origin": "null"}, 403),
        ({**HOST, **WITH, "Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
def test_only_the_page_itself_with_its_token_is_answered(headers, status):
    found = refusal(headers, 8080, TOKEN)
    assert (found and found[0]) == status


def test_a_file_needs_no_token_but_the_right_host():
    assert refusal(HOST, 8080, None) is None
    assert refusal({"Host": "evil.example"}, 8080, None) is not None


def test_the_policy_lets_the_page_load_nothing_from_elsewhere_and_run_no_inline_code():
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "*" not in policy
