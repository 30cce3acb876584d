"""What `offline --apply` does on a real Kubernetes API server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pulumi
import pulumi_kubernetes as k8s
import pytest

from offline.cluster import apply
from offline.errors import InputError, RunFailedError
from offline.plan import Plan
from offline.recording import record
from tests.integration import cluster

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[Path]:
    with cluster.api_server() as path:
        yield path


@pytest.fixture
def api(kubeconfig: Path) -> Iterator[httpx.Client]:
    with cluster.client(kubeconfig) as client:
        yield client


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[str]:
    with cluster.namespace(kubeconfig, "offline") as name:
        yield name


def plan(kubeconfig: Path, program: Callable[[], object]) -> Plan:
    def with_provider() -> None:
        k8s.Provider("cluster", kubeconfig=str(kubeconfig))
        program()

    return Plan("p", "s", record(with_provider))


def config_map(namespace: str, **data: pulumi.Input[str]) -> None:
    k8s.core.v1.ConfigMap("c", metadata={"name": "c", "namespace": namespace}, data=data)


def test_objects_are_applied_as_rendered_by_a_named_manager_and_again_without_harm(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    rendered = plan(kubeconfig, lambda: config_map(namespace, a="1"))
    apply(rendered)
    first = api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").json()
    apply(rendered)
    again = api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").json()
    assert first["data"] == {"a": "1"}
    (manager,) = first["metadata"]["managedFields"]
    assert (manager["manager"], manager["operation"]) == ("oci-model-serving", "Apply")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_namespace_is_made_before_what_lives_in_it(kubeconfig: Path, api: httpx.Client, namespace: str) -> None:
    inner = f"{namespace}-inner"

    def program() -> None:
        config_map(inner, a="1")
        k8s.core.v1.Namespace("n", metadata={"name": inner})

    try:
        apply(plan(kubeconfig, program))
        assert api.get(f"/api/v1/namespaces/{inner}/configmaps/c").json()["data"] == {"a": "1"}
    finally:
        api.delete(f"/api/v1/namespaces/{inner}")


def test_a_secret_reaches_the_cluster_and_no_output(
    kubeconfig: Path, api: httpx.Client, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def program() -> None:
        token = pulumi.Output.secret("hunter2")
        k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": namespace}, string_data={"token": token})

    apply(plan(kubeconfig, program))
    printed = capsys.readouterr()
    assert api.get(f"/api/v1/namespaces/{namespace}/secrets/s").json()["data"] == {"token": "aHVudGVyMg=="}
    assert f"applied Secret {namespace}/s" in printed.err
    assert "nothing is pruned" in printed.err
    assert "hunter2" not in printed.out + printed.err


def test_a_kind_that_the_cluster_lacks_names_its_crd_and_nothing_is_applied(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    def program() -> None:
        config_map(namespace, a="1")
        for group, kind in (("keda.sh/v1alpha1", "ScaledObject"), ("networking.gke.io/v1", "GCPBackendPolicy")):
            k8s.apiextensions.CustomResource(
                kind, api_version=group, kind=kind, metadata={"name": "x", "namespace": namespace}
            )

    with pytest.raises(InputError) as raised:
        apply(plan(kubeconfig, program))
    lines = str(raised.value).splitlines()
    assert "install CRD scaledobjects.keda.sh (the KEDA chart) first" in lines[0]
    assert "install CRD gcpbackendpolicies.networking.gke.io (GKE) first" in lines[1]
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").status_code == 404


def test_what_the_cluster_refuses_is_named_with_its_reason(kubeconfig: Path, namespace: str) -> None:
    def program() -> None:
        k8s.core.v1.Service(
            "s",
            metadata={"name": "s", "namespace": namespace},
            spec={"ports": [{"port": 99999}], "selector": {"a": "b"}},
        )

    with pytest.raises(RunFailedError, match=rf"refuses Service {namespace}/s: .*spec\.ports\[0\]\.port") as raised:
        apply(plan(kubeconfig, program))
    assert "headers" not in str(raised.value)


def test_a_field_of_another_manager_is_not_taken(kubeconfig: Path, api: httpx.Client, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "theirs"}}
    api.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body).raise_for_status()
    with pytest.raises(RunFailedError, match="conflict"):
        apply(plan(kubeconfig, lambda: config_map(namespace, a="ours")))
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").json()["data"] == {"a": "theirs"}


def test_an_object_that_asks_for_it_is_awaited_only_when_told_to(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    def program() -> None:
        k8s.core.v1.ConfigMap(
            "c",
            metadata={
                "name": "c",
                "namespace": namespace,
                "annotations": {"pulumi.com/waitFor": "jsonpath={.data.state}=ready"},
            },
            data={"a": "1"},
        )

    waiting = plan(kubeconfig, program)
    apply(waiting)
    with pytest.raises(RunFailedError, match="is not ready in time"):
        apply(waiting, wait_seconds=0)

    def become_ready() -> None:
        time.sleep(0.5)
        with cluster.client(kubeconfig) as other:
            other.patch(
                f"/api/v1/namespaces/{namespace}/configmaps/c",
                json={"data": {"state": "ready"}},
                headers={"Content-Type": "application/merge-patch+json"},
            ).raise_for_status()

    thread = threading.Thread(target=become_ready)
    thread.start()
    apply(waiting, wait_seconds=60)
    thread.join()
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").json()["data"]["state"] == "ready"
