"""What is set for Ray, and what is refused, before it is imported."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from cluster.ray_environment import resolve


@pytest.mark.parametrize("value", ["1", "true", "True"])
def test_where_traffic_is_to_be_encrypted_a_run_is_refused_instead_of_sending_it_in_the_clear(value):
    with pytest.raises(ConfigError, match="RAY_USE_TLS"):
        resolve("local", {"RAY_USE_TLS": value})


def test_encryption_that_is_switched_off_is_no_reason_to_refuse():
    assert resolve("auto", {"RAY_USE_TLS": "0", "RAY_ADDRESS": "host:6379"}) == "host:6379"
