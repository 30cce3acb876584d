"""What the lifecycle suite measured, as it is kept in report.json and shown in docs/serving.md."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = Path(__file__).with_name("report.json")
MEASURED = Path(tempfile.gettempdir()) / "oci-model-serving-lifecycle.json"
"""Where a run leaves its report."""
DELIVERIES = {"modelcar": "KServe modelcar", "native": "KServe native", "kubeai": "KubeAI"}
"""The columns, and their titles."""


@dataclass(frozen=True)
class Measured:
    """A cell.

    Attributes:
        transition: name of the row.
        delivery: name of the column; of a model that moves, the one that it moves from.
        seconds: until the command came back: `up`, or `oms pause` and `resume`.
        settled: until the pods were those of the settings, and no other.
        asked: requests sent meanwhile.
        lost: what became of those that were not answered.
        replaced: kinds of objects with another one of the same name in their place; pods: how many.
        left: what is there and belongs to no model of the settings.
        error: why it did not end well, if it did not.
    """

    transition: str
    delivery: str
    seconds: float = 0
    settled: float = 0
    asked: int = 0
    lost: list[str] = field(default_factory=list)
    replaced: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    error: str = ""

    @property
    def shown(self) -> str:
        """The cell's text."""
        replaced = ", ".join(f"{count} {kind}" for kind, count in sorted(self.replaced.items()))
        lost = f"{len(self.lost)} of {self.asked}" if self.asked else "not asked"
        return f"{self.seconds:.0f} s; {lost}; {replaced or 'none'}"


def write(cells: Iterable[Measured]) -> None:
    """Leave the cells of a run."""
    MEASURED.write_text(json.dumps([asdict(cell) for cell in cells], indent=1, ensure_ascii=False) + "\n")


def read() -> list[Measured]:
    """The committed cells."""
    return [Measured(**cell) for cell in json.loads(FILE.read_text())]
