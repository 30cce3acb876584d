r"""What vLLM says of its own start, in its log. Pure: any text can be read, and what it does not say is None.

The words are those of vLLM 0.23.0 (v1/engine/core.py, v1/worker/*model_runner.py, compilation/monitor.py,
model_executor/model_loader), those that people have shown of other versions since December 2024, and those of Run:ai's
streamer (file_streamer.py), which stands in for the loader's own line. vLLM on CPU with that streamer has neither: what
is left is the progress bar, in whole seconds. vLLM's metrics have nothing of the start.

A line begins with the time that the kubelet gave it (`timestamps=true`). Then come the processes that wrote it, as
`(EngineCore_0 pid=269) (VllmWorker TP1 pid=312)`, with colours or without. What one process says several times, of a
draft model beside the model, is added; processes work side by side, so the slowest of them counts.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from smoke.times import parse_time

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,16}m")
_PROCESS = re.compile(r"\(([^()]{1,80})\)")
_SECONDS = r"(\d{1,7}(?:\.\d{1,9})?)"
_INIT = r"init engine \(profile, create kv cache, warmup model\) took"
_TOLD: Mapping[str, re.Pattern[str]] = {
    "weights": re.compile(rf"\bLoading weights took {_SECONDS} s"),
    "streamed": re.compile(rf"Overall time to stream [^:\n]{{1,80}}: {_SECONDS}s\b"),
    "model": re.compile(rf"\bModel loading took [^\n]{{1,40}}? and {_SECONDS} s"),
    "compile": re.compile(rf"torch\.compile (?:takes|took) {_SECONDS} s in total"),
    "graph_capture": re.compile(rf"Graph capturing finished in {_SECONDS} secs?\b"),
    "engine_init": re.compile(rf"{_INIT} {_SECONDS} s"),
    "compiled": re.compile(rf"{_INIT} [\d.]{{1,20}} s\w{{0,6}} \(compilation: {_SECONDS} s"),
}
_BAR = re.compile(
    r"Loading \w{1,20} (?:checkpoint shards|using [\w :]{1,40}): 100% Completed \| \d+/\d+ "
    r"\[(?:(\d{1,3}):)?(\d\d):(\d\d)<",
    re.ASCII,
)
_VERSION = re.compile(r"(?:LLM engine \(v|vLLM (?:API )?server version )([0-9][\w.+!-]{0,40})", re.ASCII)
_LOADING = re.compile(r"\bStart(?:ing to load|loading) model\b")
_COMPLETE = "Application startup complete"
_LINE_CHARACTERS = 4000
"""Of a line: the words stand near its beginning, and one with the engine's configuration may be very long."""


@dataclass(frozen=True)
class EngineStart:
    """What vLLM says of its start: its version ("" where it says none), two moments, and seconds."""

    version: str = ""
    loading: datetime | None = None  # when it began to load the model: imports and processes are behind it
    complete: datetime | None = None  # when its HTTP server had started
    load: float | None = None  # reading the weights; where the loader does not say it, loading the model
    engine_init: float | None = None  # profile run, KV cache and warm-up, with what follows:
    compile: float | None = None
    graph_capture: float | None = None


def read_log(text: str) -> EngineStart:
    """Read a server's log from its beginning, with the kubelet's times or without."""
    told: dict[str, dict[tuple[str, ...], float]] = {what: defaultdict(float) for what in _TOLD}
    version, moments, bar = "", dict[str, datetime](), None
    for line in text.split("\n"):
        stamp, _, rest = line.partition(" ")
        at = _moment(stamp)
        said = _COLOUR.sub("", (rest if at else line)[:_LINE_CHARACTERS])
        if not version and (named := _VERSION.search(said)):
            version = named[1]
        if at and _LOADING.search(said):
            moments.setdefault("loading", at)
        if at and _COMPLETE in said:
            moments.setdefault("complete", at)
        if full := _BAR.search(said):
            hours, minutes, seconds = (float(part or 0) for part in full.groups())
            bar = max(bar or 0.0, hours * 3600 + minutes * 60 + seconds)
        for what, pattern in _TOLD.items():
            if match := pattern.search(said):
                # A progress bar may stand before it, in one line for whoever reads no carriage return.
                process = tuple(_PROCESS.findall(said[: match.start()].rpartition("\r")[2]))
                told[what][process] += float(match[1])
    slowest = {what: round(max(by_process.values()), 3) for what, by_process in told.items() if by_process}
    return EngineStart(
        version,
        moments.get("loading"),
        moments.get("complete"),
        load=slowest.get("weights", slowest.get("streamed", slowest.get("model", bar))),
        engine_init=slowest.get("engine_init"),
        compile=slowest.get("compile", slowest.get("compiled")),
        graph_capture=slowest.get("graph_capture"),
    )


def _moment(stamp: str) -> datetime | None:
    try:
        return parse_time(stamp)
    except (ValueError, OverflowError):
        return None
