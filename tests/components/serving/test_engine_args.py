"""vLLM's arguments: every spelling that its parser takes is read alike, and what it refuses is told."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving import engine_args
from components.serving.engine_args import count, read

with (Path(engine_args.__file__).with_name("vllm_flags.csv")).open(encoding="utf-8") as file:
    FLAGS = list(csv.DictReader(file))
VALUES = [row["flag"] for row in FLAGS if row["takes"] == "value"]
SWITCHES = [row["flag"] for row in FLAGS if row["takes"] == "switch"]


@pytest.mark.parametrize(
    "items",
    [
        ["--tensor-parallel-size", "4"],
        ["--tensor-parallel-size=4"],
        ["--tensor_parallel_size", "4"],
        ["--tensor_parallel_size=4"],
        ["-tp", "4"],
        ["-tp=4"],
        ["--tensor-parallel=4"],
        ["--tensor", "4"],
        ["--seed", "1", "-tp", "2", "--tensor-parallel-size=4"],
    ],
)
def test_every_spelling_of_a_flag_says_the_same(items: list[str]) -> None:
    made = read(items)
    assert (made.count("--tensor-parallel-size"), made.problems) == (4, ())


def test_switches_are_turned_on_and_off_and_the_last_one_counts() -> None:
    assert read(["--enforce-eager"]).is_on("--enforce-eager")
    assert not read(["--enforce_eager", "--no-enforce-eager"]).is_on("--enforce-eager")
    assert not read([]).is_on("--enforce-eager")


def test_keys_of_json_and_values_in_the_same_word_are_read() -> None:
    made = read(["--compilation_config.pass_config.fuse", "true", "-O3", "-qfp8"])
    assert [(flag.name, flag.key, flag.value) for flag in made.flags] == [
        ("--compilation-config", "pass_config.fuse", "true"),
        ("--optimization-level", "", "3"),
        ("--quantization", "", "fp8"),
    ]
    assert (made.problems, made.doubts) == ((), ())


@pytest.mark.parametrize(
    ("text", "number"),
    [("8192", 8192), ("8k", 8000), ("8K", 8192), ("25.6k", 25600), ("1M", 1 << 20), ("2.5K", None), ("x", None)],
)
def test_numbers_are_vllms_own(text: str, number: int | None) -> None:
    assert count(text) == number


def test_no_value_of_a_key_is_shown() -> None:
    told = " ".join(read(["--api-key sk-123", "--hf-token", "hf_1", "hf_2"]).problems)
    assert "--api-key=VALUE" in told
    assert "sk-123" not in told
    assert "hf_2" not in told


def test_a_flag_that_nobody_knows_is_doubted_and_takes_what_follows() -> None:
    made = read(["--shiny-new", "1", "2", "--seed=3"])
    assert (made.problems, made.value("--seed"), len(made.doubts)) == ((), "3", 1)


ITEMS = st.one_of(
    st.builds("{}={}".format, st.sampled_from(VALUES), st.integers(0, 9)).map(lambda item: [item]),
    st.builds(lambda flag, value: [flag, str(value)], st.sampled_from(VALUES), st.integers(-9, 9)),
    st.sampled_from(SWITCHES).map(lambda flag: [flag]),
    st.sampled_from(SWITCHES).map(lambda flag: [f"--no-{flag[2:]}"]),
    st.sampled_from(VALUES).map(lambda flag: [f"--{flag[2:].replace('-', '_')}", "x"]),
)


@given(st.lists(ITEMS, max_size=8))
def test_what_the_parser_takes_is_never_refused(given_: list[list[str]]) -> None:
    assert read([item for items in given_ for item in items]).problems == ()


@given(st.lists(st.text(max_size=20), max_size=8))
def test_whatever_the_items_are_they_are_read(items: list[str]) -> None:
    made = read(items)
    assert all(isinstance(text, str) for text in (*made.problems, *made.doubts))
