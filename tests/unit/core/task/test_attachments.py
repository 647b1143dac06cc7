"""What is reserved for the files of a call, and under which names runs share the answers about them."""

from __future__ import annotations

import pytest

from actors.core.task.attachments import IMAGE_TOKENS, AttachmentRules

RULES = AttachmentRules(root="/data/a", text_tokens=9000)


@pytest.mark.parametrize(
    "location",
    ["a.png", "in/A.JPG", "https://h/a.webp?sign=x.txt", "https://h/a.gif", "data:image/png;base64,AAAA"],
)
def test_an_image_takes_what_an_image_of_a_megapixel_does(location):
    assert RULES.tokens([location, location]) == 2 * IMAGE_TOKENS


@pytest.mark.parametrize(
    "location",
    ["a.txt", "a.pdf", "png", "a.png/b", "https://h/x?a.png", "data:text/plain,a.png", "", "s3://b/x"],
)
def test_any_other_file_takes_what_the_largest_text_does(location):
    assert RULES.tokens([location]) == 9000


def test_answers_about_files_of_one_name_in_two_folders_are_not_shared():
    other = AttachmentRules(root="/data/b")
    assert RULES.places(["in/a.png"]) == ("/data/a/in/a.png",) != other.places(["in/a.png"])
    elsewhere = ["/x/a.png", "https://h/a.png", "data:,x", "s3://b/x"]
    assert RULES.places(elsewhere) == other.places(elsewhere) == tuple(elsewhere)
