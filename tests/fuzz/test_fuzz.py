"""Hostile inputs by the thousand, at every door that reads what others say: none breaks us, none takes our memory.

A few hundred of each kind here; FUZZ_INPUTS has the number that CI runs (`make fuzz`: 20,000 of each), FUZZ_SEED begins
elsewhere. An input that failed is `failure(KIND, SEED, NUMBER)` of tests/fuzz/kinds.py.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.fuzz.kinds import KINDS, ROOT, failure

INPUTS = int(os.environ.get("FUZZ_INPUTS", "300"))
MEMORY_BYTES = 512 << 20


def test_no_input_of_any_kind_is_more_than_an_error_that_says_what_to_do_nor_takes_more_than_512_mib() -> None:
    command = [sys.executable, "-m", "tests.fuzz", str(INPUTS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800, check=False)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == []
    assert set(found["seconds"]) == set(KINDS)
    assert found["memory_bytes"] <= MEMORY_BYTES
    print(f"\n{INPUTS} inputs a kind: {found['seconds']} s, {found['memory_bytes'] >> 20} MiB")


def test_a_door_that_lets_something_through_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise KeyError("digest")

    monkeypatch.setitem(KINDS, "words", broken)
    assert failure("words", 0, 7).startswith("words 0 7: KeyError at test_fuzz.py:")


def test_the_same_number_is_the_same_input() -> None:
    assert [failure(kind, 3, 5) for kind in KINDS] == [failure(kind, 3, 5) for kind in KINDS]
