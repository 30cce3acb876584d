from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smoke.stack import ServedModel
from tests.integration import cluster
from tests.smoke import stacks
from watch.kube import KubeApi


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[KubeApi]:
    client = KubeApi(kubeconfig)
    yield client
    client.close()


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[str]:
    with cluster.namespace(kubeconfig, "smoke-test", {"pod-security.kubernetes.io/enforce": "baseline"}) as name:
        yield name


def model(delivery: str, namespace: str, **changed: Any) -> ServedModel:
    """The model of tests/smoke/stacks.py, in a namespace of the test's own."""
    return stacks.model(delivery, namespace=namespace, **changed)
