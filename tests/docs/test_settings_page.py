from components.settings.reader import KEYS
from tests.docs import settings_page


def test_the_page_is_the_one_that_the_schema_gives() -> None:
    assert settings_page.page() == settings_page.PAGE.read_text(encoding="utf-8"), (
        "the settings have changed: `make docs` writes docs/settings.md anew; commit it with the change"
    )


def test_every_key_has_a_meaning_on_the_page() -> None:
    rows = [line for line in settings_page.page().splitlines() if line.startswith("| `")]

    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []


def test_every_top_level_key_has_its_section() -> None:
    assert tuple(settings_page.SECTIONS) == KEYS
