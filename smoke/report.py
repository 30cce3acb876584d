"""How the checks are shown: a line each as they end, figures as a table, all of it as one JSON object."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oci_model_serving.foreign import lines, shown
from smoke.checks import Check, Status, all_hold
from smoke.timeline import ColdStart
from watch.waiting import Progress

_STYLES = {Status.PASS: "green", Status.FAIL: "bold red", Status.SKIP: "yellow"}
_PHASES = {
    "controller": "controller: resume to pod",
    "node_provision": "node: pod to scheduled",
    "server_image_pull": "pull of the server's image",
    "image_pull": "pull of the model's image (download and unpack)",
    "unpack": "of that unpack (not told by the API)",
    "container_start": "container: mounts and start",
    "server_start": "server: start to ready",
    "endpoint": "endpoint: ready to first answer",
    "total": "total",
}


class Report:
    """Writes text for people: results to `out`, progress to `err`; no colour unless they are terminals."""

    def __init__(self, out: TextIO, err: TextIO, *, quiet: bool) -> None:
        # soft_wrap: a line that a script greps must stay one line.
        self._out = Console(file=out, soft_wrap=True, highlight=False, emoji=False, markup=False)
        self._err = Console(file=err, soft_wrap=True, highlight=False, emoji=False, markup=False)
        self._quiet = quiet
        self._told = False
        self._progress = Progress(self._err.print)

    def check(self, check: Check) -> None:
        """Show one check: its status, name and evidence, and what to do when it failed."""
        if self._quiet:
            self._err.print(f"{check.status.value} {_title(check)}")
            return
        status = (check.status.value, _STYLES[check.status])
        self._out.print(Text.assemble(status, lines(f"  {_title(check)}: {check.evidence}")))
        if check.status is Status.FAIL:
            self._out.print(lines(f"      remedy: {check.remedy}"))
            for cause in check.causes:
                self._out.print(lines(f"      cause {cause.code}: {cause.evidence}"))
                if cause.remedy != check.remedy:
                    self._out.print(lines(f"        remedy: {cause.remedy}"))

    def tell(self, progress: str) -> None:
        """Say how far a long step is; on a terminal in place, elsewhere when something changes and every 30 s."""
        if self._err.is_terminal:
            self._err.print(f"\r{shown(progress)}", end="\033[K")
        else:
            self._progress.tell(shown(progress))
        self._told = True

    def told(self) -> None:
        """End the progress of a step."""
        if self._told and self._err.is_terminal:
            self._err.print("\r", end="\033[K")
        self._told = False

    def coldstarts(self, coldstarts: Mapping[str, ColdStart]) -> None:
        """Show the figures of cold starts as a table, one column a model."""
        if self._quiet or not coldstarts:
            return
        table = Table("seconds", *map(shown, coldstarts))
        for field, title in _PHASES.items():
            table.add_row(title, *(_figure(getattr(found, field)) for found in coldstarts.values()))
        table.add_row("new node", *("yes" if found.node_is_new else "no" for found in coldstarts.values()))
        self._out.print(table)
        for key, found in coldstarts.items():
            for pull in found.pulls:
                size = f", {pull.size_bytes / 1e6 / pull.seconds:.0f} MB/s" if pull.size_bytes and pull.seconds else ""
                self._out.print(shown(f"  {key}: {pull.image} in {pull.seconds:.1f} s{size}"))

    def closing(self, checks: list[Check]) -> None:
        """Say in one line how it went, and name what was skipped."""
        if self._quiet:
            return
        held, failed, skipped = ([check for check in checks if check.status is status] for status in Status)
        names = f" ({', '.join(map(_title, skipped))})" if skipped else ""
        self._out.print(f"{len(held)} held, {len(failed)} failed, {len(skipped)} skipped{names}")
        if not held and not failed:
            self._out.print("nothing was checked")


def as_json(stack: str, checks: list[Check], coldstarts: Mapping[str, ColdStart]) -> str:
    """Write everything as one JSON object."""
    causes = {cause.code: cause for check in checks for cause in check.causes}
    document = {
        "stack": stack,
        "ok": all_hold(checks),
        "checks": [asdict(check) for check in checks],
        "diagnosis": [asdict(cause) for cause in causes.values()],
        "coldstart": {key: asdict(found) for key, found in coldstarts.items()},
    }
    return json.dumps(document)


def _title(check: Check) -> str:
    return shown(f"{check.step}/{check.name}" + (f" [{check.model}]" if check.model else ""))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
