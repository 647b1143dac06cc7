"""Who is let in."""

from __future__ import annotations

import pickle

import pytest

from actors.core.errors import ConfigError
from cluster.http.guard.auth import (
    Authenticator,
    digests,
    is_loopback,
    refuse_to_serve_strangers,
    refuse_unbounded_heads,
)
from cluster.http.guard.problems import ApiProblem

ANN, BOB = "ann-token-1", "bob-token-2"


@pytest.fixture
def keeper():
    return Authenticator(digests(f"ann={ANN}, bob={BOB}"))


def status_of(keeper, authorization, host="localhost:8000", server="127.0.0.1"):
    with pytest.raises(ApiProblem) as caught:
        keeper.admit(authorization, host, server)
    return caught.value.status


def test_a_token_gives_its_caller_a_name(keeper):
    assert keeper.admit(f"Bearer {ANN}", "example.test", "10.0.0.1") == "ann"
    assert keeper.admit(f"bearer  {BOB}", None, None) == "bob"


def test_a_lone_token_has_no_name_and_may_look_like_base64():
    assert Authenticator(digests("c2VjcmV0LXRva2Vu==")).admit("Bearer c2VjcmV0LXRva2Vu==", None, None) == ""


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {ANN}", ANN, f"Bearer {ANN}x", "Bearer \ud800\xff"]
)
def test_anything_else_is_refused(keeper, header):
    assert status_of(keeper, header) == 401


def test_a_refusal_says_how_to_ask_and_nothing_of_the_token(keeper):
    with pytest.raises(ApiProblem) as caught:
        keeper.admit("Bearer wrong-token", None, None)
    assert caught.value.headers["WWW-Authenticate"].startswith("Bearer")
    assert "wrong-token" not in caught.value.response().body.decode()


def test_the_entry_that_is_no_token_is_named_by_its_place():
    with pytest.raises(ConfigError, match="entry 2 is no token"):
        digests(f"ann={ANN}, bob=short")


def test_what_travels_to_a_replica_holds_no_token(keeper):
    assert ANN.encode() not in pickle.dumps(keeper)


@pytest.mark.parametrize(
    "tokens", ["short", "ann=short", "a,b", "ann=token one", f"ann={ANN},ann={BOB}", f"{ANN},,"]
)
def test_a_token_that_cannot_be_used_is_an_error_that_does_not_repeat_it(tokens):
    with pytest.raises(ConfigError) as caught:
        digests(tokens)
    assert ANN not in str(caught.value)
    assert "token one" not in str(caught.value)


@pytest.mark.parametrize("tokens", [None, "", "  "])
def test_without_a_token_this_machine_gets_in(tokens):
    keeper = Authenticator(digests(tokens))
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"):
        assert keeper.admit(None, host, "127.0.0.1") == ""


def test_without_a_token_nobody_beyond_this_machine_gets_in():
    assert status_of(Authenticator({}), None, server="192.0.2.7") == 403


@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "", None, "127.0.0.1.evil.test:80", "[::1", "::1]"]
)
def test_without_a_token_no_other_name_for_this_machine_gets_in(host):
    assert status_of(Authenticator({}), None, host=host) == 403


def test_a_service_for_strangers_needs_a_token():
    for host in ("127.0.0.1", "localhost", "::1"):
        refuse_to_serve_strangers({}, host)
    refuse_to_serve_strangers({"": "digest"}, "0.0.0.0")  # noqa: S104 - that is what is refused otherwise
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.test", None):  # noqa: S104 - same
        with pytest.raises(ConfigError, match="HEADRACE_API_TOKEN"):
            refuse_to_serve_strangers({}, host)


def test_an_address_beyond_this_machine_needs_haproxy_which_bounds_heads():
    for host in ("127.0.0.1", "localhost", "::1"):
        refuse_unbounded_heads(host, haproxy=False)
    refuse_unbounded_heads("0.0.0.0", haproxy=True)  # noqa: S104 - what is refused otherwise
    for host in ("0.0.0.0", "::", "192.0.2.7", "example.test"):  # noqa: S104 - same
        with pytest.raises(ConfigError, match=r"http\.haproxy: true") as caught:
            refuse_unbounded_heads(host, haproxy=False)
        assert host in str(caught.value)


def test_a_name_that_is_no_address_is_not_this_machine():
    assert not is_loopback("example.test")
