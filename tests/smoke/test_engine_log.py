"""What vLLM says of its own start is read in every wording that people have reported, and no text breaks it."""

import json
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoke.engine_log import EngineStart, read_log

REPORTS = sorted(Path(__file__).with_name("engine_logs").glob("*.json"))
"""Excerpts of logs, each with the public address (`source`) where somebody has shown it."""
SAID = st.sampled_from(
    (
        "Loading weights took 2.63 seconds",
        "Loading weights took 9999999999.1 seconds",
        "Overall time to stream 3.9 GiB: 1.24s",
        "torch.compile took . s in total",
        "init engine (profile, create kv cache, warmup model) took 7 s (compilation: 1 s)",
        "(EngineCore pid=1)",
        "Application startup complete.",
        "Starting to load model x",
        "2026-11-22T10:03:00.000000001Z ",
        "2026-99-99T10:03:00Z ",
        "0001-01-01T00:00:00+23:59 ",
        "\x1b[0;36m",
        "\r",
        "\n",
    )
)


def report(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: str(file.stem))
def test_a_log_that_somebody_has_reported_is_read(file: Path) -> None:
    found = asdict(read_log("\n".join(report(file)["lines"])))

    assert {key: found[key] for key in report(file)["expect"]} == report(file)["expect"]


@pytest.mark.parametrize("file", REPORTS, ids=lambda file: str(file.stem))
def test_it_is_read_the_same_with_the_kubelets_times_and_with_colours(file: Path) -> None:
    lines = report(file)["lines"]
    stamped = [f"2026-11-22T10:03:{at:02d}.{at:09d}Z \x1b[0;36m{line}\x1b[0;0m\r" for at, line in enumerate(lines)]
    found = asdict(read_log("\n".join(stamped)))

    assert {key: found[key] for key in report(file)["expect"]} == report(file)["expect"]


def test_every_report_names_where_it_is_from() -> None:
    sources = [report(file)["source"] for file in REPORTS]
    assert all(source.startswith("https://github.com/") for source in sources)
    assert len(set(sources)) == len(sources) >= 8


def test_the_moments_are_the_first_ones_by_the_kubelets_clock() -> None:
    found = read_log(
        "2026-11-22T11:03:12.123456789+01:00 (EngineCore pid=9) INFO [cpu_model_runner.py:104] "
        "Starting to load model /mnt/models...\n"
        "2026-11-22T10:03:13Z (EngineCore pid=8) INFO Starting to load model /mnt/models...\n"
        "2026-11-22T10:03:50.5Z (APIServer pid=1) INFO:     Application startup complete.\n"
    )

    assert found.loading == datetime(2026, 11, 22, 10, 3, 12, 123456, tzinfo=timezone.utc)
    assert found.complete == datetime(2026, 11, 22, 10, 3, 50, 500000, tzinfo=timezone.utc)


def test_a_log_without_times_tells_no_moments() -> None:
    assert read_log("Starting to load model x\nApplication startup complete.") == EngineStart()


def test_what_one_process_says_twice_is_added_and_of_several_the_slowest_counts() -> None:
    found = read_log(
        "(Worker_TP0 pid=1) Graph capturing finished in 4 secs, took 0.1 GiB\n"
        "(Worker_TP1 pid=2) Graph capturing finished in 6 secs, took 0.1 GiB\n"
        "(Worker_TP0 pid=1) Graph capturing finished in 3 secs, took 0.1 GiB\n"
    )

    assert found.graph_capture == 7


def test_the_time_of_another_line_is_not_taken_for_compilation_or_loading() -> None:
    found = read_log(
        "torch.compile and initial profiling/warmup run together took 12.5 s in total\n"
        "Reloading and processing weights took 3.10 seconds\n"
        "Initial profiling/warmup run took 56.94 s\n"
    )

    assert found == EngineStart()


def test_a_full_progress_bar_is_taken_where_no_line_tells_the_load() -> None:
    bar = (
        "(Worker pid=9) Loading safetensors using Runai Model Streamer: 100% Completed | 51/51 [01:07<00:00, 9.10it/s]"
    )
    half = "(Worker pid=9) Loading safetensors checkpoint shards:  50% Completed | 1/2 [09:09<09:09,  1.19s/it]"

    assert read_log(f"{half}\n{bar}\n{bar}").load == 67
    assert read_log(f"{bar}\nLoading weights took 66.61 seconds").load == 66.61
    assert read_log(half).load is None


def test_the_engines_own_sum_stands_in_for_a_line_of_compilation_that_is_missing() -> None:
    encoder = "(compilation: 13.01 s — language_model: 12.00 s, encoder: 1.01 s)"
    found = read_log(f"init engine (profile, create kv cache, warmup model) took 212.68 s {encoder}")

    assert (found.engine_init, found.compile) == (212.68, 13.01)


def test_a_progress_bar_in_the_same_line_is_no_process() -> None:
    bar = "Capturing CUDA graphs (decode, FULL): 100%|##| 35/35\r"
    found = read_log(f"{bar}(E pid=1) Graph capturing finished in 1 secs\n(E pid=1) Graph capturing finished in 2 secs")

    assert found.graph_capture == 3


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert isinstance(read_log(text), EngineStart)


@given(st.lists(SAID | st.text(max_size=5)).map("".join))
def test_no_figure_is_negative_or_without_bounds(text: str) -> None:
    found = read_log(text)
    figures = (found.load, found.engine_init, found.compile, found.graph_capture)
    assert all(0 <= figure < 1e9 for figure in figures if figure is not None)
