"""How the checks are shown: a line each as they end, figures as a table, all of it as one JSON object."""

import json
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from oci_model_serving.foreign import lines, shown
from smoke.checks import Check, Status, all_hold
from smoke.coldstart import Measured
from smoke.comparison import Comparison
from smoke.timeline import ColdStart
from watch.waiting import Progress

_STYLES = {Status.PASS: "green", Status.FAIL: "bold red", Status.SKIP: "yellow"}
STAGES = {
    "controller": "controller: resume to pod",
    "node_provision": "node: pod to scheduled",
    "node_created": "  the node's creation",
    "node_ready": "  from there to ready",
    "driver": "  its GPU driver's installation",
    "server_image_pull": "pull of the server's image",
    "image_pull": "pull of the model's image (download and unpack)",
    "adapters_pull": "pull of the adapters' images",
    "unpack": "  of the pulls, unpacking (told on the node alone)",
    "container_start": "container: mounts and start",
    "server_start": "server: start to ready",
    "process_start": "  process: imports, until it loads the model",
    "load": "  weights",
    "engine_init": "  engine: profile run, KV cache, warm-up",
    "compile": "    compile",
    "graph_capture": "    graph capture",
    "ready": "  ready: its HTTP server up to the pod ready",
    "endpoint": "endpoint: ready to first answer",
    "total": "total",
}
"""The figures of a cold start and what people call them; what is a part of another is indented below it."""
_CONSTANTS = "components/google/speeds.csv"


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

    def coldstarts(self, measured: Measured) -> None:
        """Show the figures of cold starts: a table with one column a model, and one of each beside its prediction."""
        coldstarts = measured.coldstarts
        if self._quiet or not coldstarts:
            return
        table = Table("seconds", *map(shown, coldstarts))
        for field, title in STAGES.items():
            table.add_row(title, *(_figure(getattr(found, field)) for found in coldstarts.values()))
        table.add_row("new node", *("yes" if found.node_is_new else "no" for found in coldstarts.values()))
        self._out.print(table)
        for key, found in coldstarts.items():
            for pull in found.pulls:
                size = f", {pull.mb_per_second:.0f} MB/s" if pull.mb_per_second else ""
                self._out.print(shown(f"  {key}: {pull.role}: {pull.image} in {pull.seconds:.1f} s{size}"))
            self._comparison(key, measured.comparisons.get(key))

    def _comparison(self, key: str, compared: Comparison | None) -> None:
        if compared is None:
            self._out.print(shown(f"  {key}: the stack's outputs hold no prediction to compare with"))
            return
        for one in compared.stages:
            least, most = one.predicted
            predicted = f"{least:.1f}" if least == most else f"{least:.0f} to {most:.0f}"
            bound = f", bound by {one.bound}" if one.bound else ""
            times = f": {one.ratio:g} times" if one.ratio else ""
            told = f"{predicted} s predicted{bound}, {one.measured:.1f} s measured{times}"
            self._out.print(shown(f"  {key}: {one.stage}: {told}"))
        for off in compared.off:
            told = f"{off.value:g} {off.unit} there, {off.measured:g} {off.unit} here (see docs/coldstart.md)"
            self._out.print(shown(f"  {key}: {off.stage}: {off.constant} of {_CONSTANTS} is off: {told}"))

    def closing(self, checks: list[Check]) -> None:
        """Say in one line how it went, and name what was skipped."""
        if self._quiet:
            return
        held, failed, skipped = ([check for check in checks if check.status is status] for status in Status)
        names = f" ({', '.join(map(_title, skipped))})" if skipped else ""
        self._out.print(f"{len(held)} held, {len(failed)} failed, {len(skipped)} skipped{names}")
        if not held and not failed:
            self._out.print("nothing was checked")


def as_json(stack: str, checks: list[Check], measured: Measured) -> str:
    """Write everything as one JSON object."""
    causes = {cause.code: cause for check in checks for cause in check.causes}
    document = {
        "stack": stack,
        "ok": all_hold(checks),
        "checks": [asdict(check) for check in checks],
        "diagnosis": [asdict(cause) for cause in causes.values()],
        "coldstart": {
            key: _figures(found, measured.comparisons.get(key)) for key, found in measured.coldstarts.items()
        },
    }
    return json.dumps(document)


def _figures(found: ColdStart, compared: Comparison | None) -> dict[str, Any]:
    return {**asdict(found), "prediction": asdict(compared) if compared else None}


def _title(check: Check) -> str:
    return shown(f"{check.step}/{check.name}" + (f" [{check.model}]" if check.model else ""))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
