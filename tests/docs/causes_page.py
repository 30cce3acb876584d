"""Writes docs/causes.md: the table of causes, as `watch.table` has it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.serving import ROOT
from watch.table import admission, engine, places, pulls, streams
from watch.table.row import Row

PAGE = ROOT / "docs" / "causes.md"
STATES = Path(__file__).parents[1] / "watch" / "statuses"
ROOMS = {
    "Nothing makes the pod": admission.ROWS,
    "Images": pulls.ROWS,
    "The sidecar of delivery `stream`": streams.ROWS,
    "The server": engine.ROWS,
    "Nodes": places.ROWS,
}

TOP = """# Causes

What `pulumi up`, `oms check`, `oms resume` and `oms coldstart` say when a model's pods do not start: {count} causes,
read from statuses, events and the last lines of the containers' logs. A name is stable, for scripts that read `--json`
(`causes[].code`). Where several causes show, the likeliest is first; what only follows from another is left out. What
no cause is known for is told in the cluster's own words, as `unknown`, and a server that ends without a known reason as
`crash-CONTAINER`.

In a remedy `{{name}}` stands for what the message or the case says: the pool, the repository, the length that fits.
{states} recorded states hold the table in tests ({public} of them from public reports, whose addresses are in their
files).
"""
SECTION = """
## {title}

| cause | what to do | ends a wait at once | seen in |
|---|---|---|---|
"""


def page() -> str:
    """The page as it has to be."""
    states = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(STATES.glob("*.json"))]
    public = sum(str(state.get("source", "")).startswith("https://") for state in states)
    count = sum(map(len, ROOMS.values()))
    return TOP.format(count=count, states=len(states), public=public) + "".join(
        SECTION.format(title=title) + "".join(map(_line, rows)) for title, rows in ROOMS.items()
    )


def _line(row: Row) -> str:
    source = row.source if row.source.startswith("https://") else _plain(row.source)
    return f"| `{row.code}` | {_plain(row.remedy)} | {'yes' if row.lasting else ''} | {source} |\n"


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
