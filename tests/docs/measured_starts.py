"""The tables of docs/coldstart.md: cold starts that were measured, each beside its prediction.

A file of `measured_starts` is what `oms coldstart --json` has printed, with `what` (where it ran) beside it:
`python -m tests.docs.measured_starts FILE WHAT` takes a report in, and `python -m tests.docs.measured_starts`
(`make docs`) writes the page anew.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smoke.report import STAGES

PAGE = Path(__file__).parents[2] / "docs" / "coldstart.md"
FOLDER = Path(__file__).with_name("measured_starts")
BEGIN = "<!-- measured starts: written by `make docs` -->\n"
END = "<!-- end of measured starts -->"


def reports() -> Iterator[dict[str, Any]]:
    """What was measured, the oldest file name first."""
    for file in sorted(FOLDER.glob("*.json")):
        yield json.loads(file.read_text(encoding="utf-8"))


def take_in(report: Path, what: str) -> None:
    """Keep a report without the names of its stack, models, registries and images."""
    figures = json.loads(report.read_text(encoding="utf-8"))["coldstart"]
    for number, one in enumerate(figures.values(), start=len(list(FOLDER.glob("*.json"))) + 1):
        pulls = [{key: value for key, value in pull.items() if key != "image"} for pull in one["pulls"]]
        FOLDER.mkdir(exist_ok=True)
        text = json.dumps({"what": what, "figures": {**one, "pulls": pulls}}, indent=1)
        (FOLDER / f"{number:02d}.json").write_text(f"{text}\n", encoding="utf-8")


def table(report: dict[str, Any]) -> str:
    """One report as Markdown: the stages that something told, each with its prediction."""
    figures = report["figures"]
    compared = {one["stage"]: one for one in (figures["prediction"] or {}).get("stages", ())}
    facts = [f"vLLM {figures['server_version']}" if figures["server_version"] else ""]
    facts += [figures["machine_type"], figures["runtime"].replace("://", " "), figures["kubelet"]]
    facts += ["a new node" if figures["node_is_new"] else "a node that was there"]
    lines = [f"{report['what']} ({', '.join(filter(None, facts))}):", ""]
    lines += ["| stage | predicted, s | measured, s | ratio |", "|---|--:|--:|--:|"]
    for stage, title in STAGES.items():
        if figures[stage] is not None:
            part_of = "- " * ((len(title) - len(title.lstrip())) // 2)
            predicted, ratio = _compared(compared.get(stage))
            lines.append(f"| {part_of}`{stage}` | {predicted} | {figures[stage]:.1f} | {ratio} |")
    return "\n".join(lines) + "\n"


def _compared(one: dict[str, Any] | None) -> tuple[str, str]:
    if one is None:
        return "", ""
    least, most = one["predicted"]
    ratio = f"{one['ratio']:g}" if one["ratio"] else ""
    return (f"{least:.1f}" if least == most else f"{least:.0f} to {most:.0f}"), ratio


def with_tables(page: str) -> str:
    """The page with the tables between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    tables = "\n".join(map(table, reports()))
    return f"{before}{BEGIN}{tables}{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:]:
        take_in(Path(sys.argv[1]), sys.argv[2])
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
