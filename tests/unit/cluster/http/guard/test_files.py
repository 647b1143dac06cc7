"""Which files callers of the API may have sent: those that the author of the configuration names."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from cluster.config.model import HeadraceConfig
from cluster.http.guard.files import confined


def configured(attachments, attach="photo"):
    step = {"prompt": "What is in {key}?", "attach": attach, "output": {"label": "string"}}
    return HeadraceConfig.model_validate({"llm": {"attachments": attachments}, "evaluate": step})


@pytest.mark.parametrize("given", [{}, {"max_bytes": 20}, {"allow_private": True}, {"urls": ["s3://b/"]}])
def test_a_service_whose_callers_name_files_needs_their_folder(given):
    with pytest.raises(ConfigError, match=r"set llm.attachments.directory"):
        confined(configured(given))
    assert confined(configured(given, attach=[])) == configured(given, attach=[])


@pytest.mark.parametrize(("urls", "read"), [({}, ()), ({"urls": ["s3://bucket/a/"]}, ("s3://bucket/a/",))])
def test_a_service_reads_the_urls_that_its_configuration_allows_and_no_others(urls, read):
    assert confined(configured({"directory": ".", **urls})).llm.attachments.urls == read
