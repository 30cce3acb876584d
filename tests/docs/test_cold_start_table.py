from tests.docs.cold_start_table import PAGE, rows, with_table


def test_the_page_holds_the_table_that_the_plan_predicts() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "run `make docs`"


def test_three_models_are_compared_on_four_disks_each() -> None:
    found = list(rows())
    assert len({model for model, *_ in found}) == 3
    assert len(found) == 12
