"""docs/causes.md has the table of causes as it is."""

from tests.docs import causes_page


def test_the_page_is_the_tables() -> None:
    assert causes_page.page() == causes_page.PAGE.read_text(encoding="utf-8"), "`make docs` writes it anew"
