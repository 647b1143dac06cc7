from __future__ import annotations

from tests import cli_page


def test_the_page_of_the_command_line_says_what_the_commands_say():
    _, _, rest = cli_page.PAGE.read_text(encoding="utf-8").partition(cli_page.BEGIN)
    written, _, _ = rest.partition(cli_page.END)
    assert written.strip() == cli_page.generated().strip(), "write it anew: python -m tests.cli_page"
