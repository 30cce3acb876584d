from collections.abc import Iterator

import pytest

import modelimage
from tests import recorded_api
from tests.recorded_api import RecordedApi
from watch.kube import KubeApi


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks a registry or Google for anything unless it brings its own."""

    def inspect(reference: str, **_: object) -> None:
        raise modelimage.NotFoundError(f"{reference}: no registry in this test")

    monkeypatch.setattr(modelimage, "inspect", inspect, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/credentials.json")


@pytest.fixture
def cluster() -> Iterator[RecordedApi]:
    with recorded_api.serve() as state:
        yield state


@pytest.fixture
def api(cluster: RecordedApi) -> Iterator[KubeApi]:
    client = KubeApi(cluster.kubeconfig)
    yield client
    client.close()
