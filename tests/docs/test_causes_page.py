"""docs/causes.md has the table of causes as it is."""

from tests.docs import causes_page
from watch.table import ROWS


def test_the_page_is_the_tables() -> None:
    assert causes_page.page() == causes_page.PAGE.read_text(encoding="utf-8"), "`make docs` writes it anew"


def test_the_page_has_every_cause() -> None:
    on_page = [row.code for rows in causes_page.ROOMS.values() for row in rows]
    assert on_page == [row.code for row in ROWS]
