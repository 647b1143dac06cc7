"""What a call of `map` makes of its arguments."""

from __future__ import annotations

import pytest

from actors.core.errors import ConfigError
from cluster.input.problems import TaskInputError
from cluster.input.rows import RowInput
from headrace.map_call import MapCall


@pytest.mark.parametrize("options", [{"limit": 1}, {"sample": 1}, {}])
def test_the_job_of_a_file_names_it_so_that_no_result_replaces_it(tmp_path, options):
    table = tmp_path / "p.csv"
    table.write_text("text\na\nb\nc\n")
    job = MapCall(table, "{text}", {"label": "str"}, options).job(None, RowInput.of_file(str(table)))
    assert job.table == str(table)


def test_a_file_may_have_another_delimiter_which_an_error_names_as_an_argument(tmp_path):
    table = tmp_path / "p.csv"
    table.write_text("id;text\n1;a\n")
    options = {"delimiter": ";", "encoding": "cp1252"}
    assert MapCall(table, "{text}", {"label": "str"}, options).source().rows(2**20).columns == ("id", "text")
    with pytest.raises(
        TaskInputError, match=r"p.csv:1: the header has one column 'id;text'; use delimiter=';'$"
    ):
        MapCall(table, "{text}", {"label": "str"}, {}).source().rows(2**20)
    with pytest.raises(ConfigError, match="delimiter and encoding describe a file"):
        MapCall([{"text": "a"}], "{text}", {"label": "str"}, options).source()


def test_the_runs_of_a_url_have_the_name_that_the_command_line_gives_them():
    """A query may hold a token, and the same job must continue the same run."""
    source = MapCall("https://h.test/p.csv?token=s3cr.et", "{text}", {"label": "str"}, {}).source()
    assert source.name == "p"


def test_an_empty_key_is_named_by_its_argument():
    with pytest.raises(ConfigError, match="api_key is empty"):
        MapCall("p.csv", "{text}", {"label": "str"}, {"api_key": ""})
