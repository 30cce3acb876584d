"""The table of transitions in docs/serving.md is that of the committed report, which has each transition."""

from tests.lifecycle import report, table
from tests.lifecycle.report import Measured
from tests.lifecycle.test_lifecycle import CELLS


def test_the_page_has_the_table_of_the_report() -> None:
    page = table.PAGE.read_text()

    assert page == table.written(page, report.read())


def test_the_report_has_each_transition_of_each_delivery_in_the_order_of_the_suite() -> None:
    cells = {(cell.transition, cell.delivery): cell for cell in report.read()}

    assert set(cells) == set(CELLS)
    assert [cell for cell in cells.values() if cell.error or cell.lost or cell.left] == []


def test_a_cell_says_seconds_lost_answers_and_what_was_replaced() -> None:
    cell = Measured("digest", "native", 12.4, 20, 100, ["503"], {"Pod": 2, "Deployment": 1})

    lines = table.table([cell]).splitlines()

    assert lines[0].split(" | ")[1:] == ["KServe modelcar", "KServe native", "KubeAI |"]
    assert lines[2] == "| digest |  | 12 s; 1 of 100; 1 Deployment, 2 Pod |  |"


def test_what_is_around_the_table_stays() -> None:
    page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"

    assert table.written(page, []).startswith("before\n")
    assert table.written(page, []).endswith(f"{table.END}\nafter\n")
    assert "old" not in table.written(page, [])
