"""The cluster that a run starts for itself."""

from __future__ import annotations

import os
import stat

import ray

from cluster.ray.private_directory import root_path


def test_no_other_user_can_enter_the_directory_of_the_cluster_s_files(cluster):
    session = ray.get_runtime_context().get_session_name()
    assert (root_path() / "ray" / session / "sockets").is_dir()
    assert stat.S_IMODE(root_path().stat().st_mode) == 0o700


def test_the_cluster_asks_for_a_token(cluster):
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert stat.S_IMODE(os.stat(os.environ["RAY_AUTH_TOKEN_PATH"]).st_mode) == 0o600  # noqa: PTH116 - a string
