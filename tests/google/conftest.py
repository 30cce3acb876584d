from collections.abc import Iterator

import pytest

from tests.google.endpoints import Loopback, loopback


@pytest.fixture
def google() -> Iterator[Loopback]:
    with loopback() as google:
        yield google
