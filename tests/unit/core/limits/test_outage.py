"""Until when a fetch waits for a source that is down."""

from __future__ import annotations

import pytest

from actors.core.limits.outage import waits_until


@pytest.mark.parametrize(
    ("down_since", "outage_s", "required", "until"),
    [
        (90.0, None, False, 690.0),  # ten minutes from when it went down
        (-900.0, None, False, -300.0),  # it has been down for longer: nothing waits any more
        (90.0, None, True, 5100.0),  # half of the time of the fetch
        (90.0, 30.0, True, 120.0),
        (90.0, 1e6, False, 10_100.0),  # the deadline of the fetch
    ],
)
def test_an_outage_is_waited_for_from_when_the_source_went_down(down_since, outage_s, required, until):
    assert waits_until(100.0, 10_000.0, down_since, outage_s=outage_s, required=required) == until
