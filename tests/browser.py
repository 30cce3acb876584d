"""A real browser for what people look at: pages are drawn by headless Chromium, and by GitHub's own mermaid.

Mermaid is one file of its npm package, which `python -m tests.browser` brings, as `.ci/run` does. Where the browser or
that file is missing, the tests skip and say so.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MERMAID_VERSION = "11.12.0"
MERMAID = Path.home() / ".cache" / "test-tools" / f"mermaid-{MERMAID_VERSION}.min.js"
_MERMAID_SHA512 = "ZudVx73BwrMJfCFmSSJT84y6u5brEoV8DOItdHomNLz32uBjNrelm7mg95X7g+C6UoQH/W6mBLGDEDv73JdxBg=="
"""Of the package, as the registry states it for this version."""
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
needs_mermaid = pytest.mark.skipif(
    CHROMIUM is None or not MERMAID.is_file(),
    reason=f"no Chromium on PATH, or no {MERMAID}: python -m tests.browser brings it, with npm",
)


def run(page: str, folder: Path, *options: str) -> str:
    """Open a page in a browser of its own, and give the document as it stands when all scripts are done."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    alone = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}",
    ]
    found = subprocess.run(
        [str(CHROMIUM), *alone, "--virtual-time-budget=20000", *options, "--dump-dom", file.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return found.stdout


def evaluated(body: str, script: str, folder: Path, *options: str) -> Any:
    """What a script says of a page: `script` is the body of an async function that returns what JSON can hold."""
    ending = f"""<template id=said><pre></pre></template><script>(async () => {{
      let said;
      try {{ said = await (async () => {{ {script} }})() }} catch (error) {{ said = {{error: String(error)}} }}
      document.getElementById('said').content.firstChild.textContent = JSON.stringify(said);
    }})()</script>"""
    document = run(f"<!doctype html><meta charset=utf-8><body style='margin:0'>{body}{ending}", folder, *options)
    said = re.search(r'<template id="said"><pre>(.*?)</pre></template>', document, re.DOTALL)
    assert said
    assert said[1], f"the script did not end: {document[-2000:]}"
    return json.loads(unescape(said[1]))


def bring_mermaid() -> None:
    """Put mermaid's one file where the tests look for it."""
    if MERMAID.is_file():
        return
    with tempfile.TemporaryDirectory() as folder:
        words = ["npm", "pack", "--silent", f"mermaid@{MERMAID_VERSION}"]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (package,) = Path(folder).glob("*.tgz")
        if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != _MERMAID_SHA512:
            sys.exit(f"mermaid {MERMAID_VERSION} is not the package that was pinned")
        with tarfile.open(package) as archive:
            file = archive.extractfile("package/dist/mermaid.min.js")
            assert file
            MERMAID.parent.mkdir(parents=True, exist_ok=True)
            MERMAID.write_bytes(file.read())


if __name__ == "__main__":
    bring_mermaid()
