"""The API server of the test cluster, which all of these tests share."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration import cluster


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    with cluster.api_server() as path:
        yield path


@pytest.fixture(scope="module")
def api(kubeconfig: Path) -> Iterator[httpx.Client]:
    with cluster.client(kubeconfig) as client:
        yield client
