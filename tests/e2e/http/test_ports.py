"""Where a service on a cluster of its own listens that may listen anywhere."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from cluster.http.standalone import _free_port


def test_a_free_port_is_none_that_the_system_gives_to_others_meanwhile():
    assert {20_000 <= _free_port("127.0.0.1") < 30_000 for _ in range(100)} == {True}


def test_an_address_of_another_machine_is_told_with_what_to_do():
    with pytest.raises(ConfigError, match="name an address of this machine"):
        _free_port("203.0.113.9")
