from __future__ import annotations

from collections.abc import Iterator

import pytest

from modelimage.stream import ledger
from tests.modelimage.stream.rig import CHUNK, HostileRegistry


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "CHUNK_BYTES", CHUNK)


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry().running() as registry:
        yield registry
