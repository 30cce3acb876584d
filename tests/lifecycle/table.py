"""Writes the table of transitions of docs/serving.md from the suite's own report: `python -m tests.lifecycle.table`.

With `--measured` the last run on this machine becomes the committed report first.
"""

import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.lifecycle import report
from tests.lifecycle.report import Measured

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
BEGIN = "<!-- transitions: written by `python -m tests.lifecycle.table` from tests/lifecycle/report.json -->"
END = "<!-- end of transitions -->"


def table(cells: Iterable[Measured]) -> str:
    """A row a transition, a column a delivery."""
    found = {(cell.transition, cell.delivery): cell for cell in cells}
    rows = [
        ["", *report.DELIVERIES.values()],
        ["---"] * (1 + len(report.DELIVERIES)),
        *(
            [name, *(found[name, column].shown if (name, column) in found else "" for column in report.DELIVERIES)]
            for name in dict.fromkeys(name for name, _ in found)
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def written(page: str, cells: Iterable[Measured]) -> str:
    """A page with the table in the place of the one that it has."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(cells)}\n\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--measured"]:
        shutil.copy(report.MEASURED, report.FILE)
    PAGE.write_text(written(PAGE.read_text(), report.read()))
