from collections.abc import Iterator

import pytest

from smoke.kube import KubeApi
from tests.smoke import recorded_api
from tests.smoke.recorded_api import RecordedApi


@pytest.fixture
def cluster() -> Iterator[RecordedApi]:
    with recorded_api.serve() as state:
        yield state


@pytest.fixture
def api(cluster: RecordedApi) -> Iterator[KubeApi]:
    client = KubeApi(cluster.kubeconfig)
    yield client
    client.close()
