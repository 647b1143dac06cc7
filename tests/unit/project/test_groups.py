"""Under `make test`, tests that share something slow to start go to one process."""

from __future__ import annotations


def test_every_test_that_uses_the_cluster_is_in_its_group_where_several_processes_test(request):
    using = [item for item in request.session.items if "head" in getattr(item, "fixturenames", ())]
    if getattr(request.config.option, "loadgroup", False):
        assert [item.nodeid for item in using if not item.nodeid.endswith("@head")] == []
