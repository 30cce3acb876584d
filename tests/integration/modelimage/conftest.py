from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.modelimage.proxy import FaultProxy
from tests.registry import RegistryServer, running
from tests.weights import write_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the tests' remembered digests, and the user's own credentials, apart."""
    folder = tmp_path / "xdg-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    for variable in ("MODELIMAGE_USERNAME", "MODELIMAGE_PASSWORD"):
        monkeypatch.delenv(variable, raising=False)
    return folder / "oci-model-serving"


@pytest.fixture(autouse=True)
def built_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find what .ci/run builds from Go modules: cosign, crane and oras."""
    monkeypatch.setenv("PATH", f"{Path('~/.cache/test-tools').expanduser()}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small folder of weights with all that matters."""
    return write_model(tmp_path / "model")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryServer]:
    """A real registry."""
    yield from running(tmp_path / "registry")


@pytest.fixture
def proxy(registry: RegistryServer) -> Iterator[FaultProxy]:
    """The real registry behind a proxy that takes orders for faults."""
    with FaultProxy(registry.host) as server:
        yield server
