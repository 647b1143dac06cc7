"""The shared files of pages, and the policy that allows them."""

from cluster.web.document import SELF, asset, hashed, joined, policy


def test_a_file_of_the_page_comes_before_a_shared_one(tmp_path):
    (tmp_path / "base.css").write_text("own\n", encoding="utf-8")
    (tmp_path / "more.css").write_text("more\n", encoding="utf-8")
    assert joined(("base.css", "more.css"), tmp_path) == "own\nmore"
    assert asset("elements.js", tmp_path) == asset("elements.js")


def test_a_policy_names_scripts_and_styles_by_hash_and_forbids_all_else():
    found = policy(scripts=[hashed("1"), SELF], styles=[hashed("a{}")], connect_src=SELF)
    assert found == (
        "default-src 'none'; script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s=' 'self'; "
        "style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='; "
        "base-uri 'none'; form-action 'none'; connect-src 'self'"
    )
    assert policy().startswith("default-src 'none'; script-src 'none'; style-src 'none'; ")
