"""Requests have exactly the signature that botocore makes."""

from __future__ import annotations

import datetime as dt
from unittest.mock import patch

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from actors.llm.requests.aws_signature import AwsSigner

NOW = dt.datetime(2026, 11, 30, 20, 15, tzinfo=dt.UTC)
HOSTS = st.sampled_from(
    [
        "https://a.amazonaws.com",
        "http://H:8080",
        "https://h:443",
        "http://h:80",
        "https://h:80",
        "http://[::1]:9",
    ]
)
SEGMENTS = st.text(st.characters(codec="utf-8", exclude_characters="?#/\t\r\n"), max_size=5)
PATHS = st.lists(SEGMENTS | st.sampled_from(["", ".", "..", "a%2Fb", "v1%3A0", "~", "+", "a b"]), max_size=5)
QUERIES = st.text(st.characters(codec="utf-8", exclude_characters="#\t\r\n"), max_size=9) | st.sampled_from(
    ["", "b=2&a=1", "a", "a=&a=1", "a=b=c", "&&", "x=%2F"]
)
KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


def joined(host, path, query):
    return host + "".join(f"/{part}" for part in path) + (f"?{query}" if query else "")


def of_botocore(keys, region, request, now):
    with patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(Credentials(*keys), "bedrock", region).add_auth(request)
    return dict(request.headers.items())


@given(
    keys=st.tuples(KEYS, KEYS, st.none() | KEYS),
    region=st.sampled_from(["eu-west-1", "us-gov-east-1"]),
    url=st.builds(joined, HOSTS, PATHS, QUERIES),
    bodies=st.lists(st.binary(max_size=60), min_size=1, max_size=3),
    days=st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
@example(("A", "s", "t"), "eu-west-1", "https://h/model/a%3A0/../b//c/", [b"{}"], [0, 1, 0])
@example(("A", "s", None), "eu-west-1", "https://h", [b""], [0])
def test_a_signature_is_that_of_botocore(keys, region, url, bodies, days):
    signer = AwsSigner(*keys, region=region, service="bedrock")
    for day in days:
        now = NOW + dt.timedelta(days=day)
        for body in bodies:
            found = signer.headers("POST", url, body, now.strftime("%Y%m%dT%H%M%SZ"))
            assert found == of_botocore(keys, region, AWSRequest("POST", url, data=body), now)
