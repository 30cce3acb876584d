"""The flowcharts of the pages, drawn by mermaid: GitHub shows one that it cannot read as an error."""

import json
import re
from pathlib import Path
from typing import Any

from tests import browser
from tests.serving import ROOT

_PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("bench/**/*.md")]
_READ = """
mermaid.initialize({startOnLoad: false});
const found = {};
for (const [name, text] of Object.entries(%s)) {
  try { await mermaid.parse(text); found[name] = '' } catch (error) { found[name] = String(error) }
}
return found;
"""


def flowcharts() -> dict[str, str]:
    """All of them, by page and number."""
    blocks = [
        (page, re.findall(r"```mermaid\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)) for page in _PAGES
    ]
    return {f"{page.name} {number}": text for page, found in blocks for number, text in enumerate(found)}


@browser.needs_mermaid
def test_mermaid_reads_every_flowchart_of_the_pages(tmp_path: Path) -> None:
    texts = flowcharts()
    library = f'<script src="{browser.MERMAID.as_uri()}"></script>'
    broken = {**texts, "broken": "flowchart TD\n  a --> "}
    said: dict[str, Any] = browser.evaluated(library, _READ % json.dumps(broken).replace("<", "\\u003c"), tmp_path)
    assert said.pop("broken")
    assert said == dict.fromkeys(texts, "")


def test_there_are_flowcharts_to_read() -> None:
    assert {"README.md 0", "CONTRIBUTING.md 0"} <= flowcharts().keys()
