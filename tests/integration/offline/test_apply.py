"""How the suite on the node puts a program's objects on an API server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pulumi
import pulumi_kubernetes as k8s
import pytest

from components import commands
from offline.plan import Plan
from offline.recording import record
from tests.e2e.apply import FORCE, State, apply, destroy
from tests.integration import cluster

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def namespace(kubeconfig: Path) -> Iterator[str]:
    with cluster.namespace(kubeconfig, "offline") as name:
        yield name


def plan(program: Callable[[], object]) -> Plan:
    return Plan("p", "s", record(program))


def config_map(namespace: str, name: str = "c", *, forced: bool = False, **data: pulumi.Input[str]) -> None:
    annotations = {FORCE: "true"} if forced else {}
    k8s.core.v1.ConfigMap(name, metadata={"name": name, "namespace": namespace, "annotations": annotations}, data=data)


def data_of(api: httpx.Client, namespace: str, name: str = "c") -> object:
    return api.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}").json().get("data")


def test_objects_are_applied_as_rendered_by_a_named_manager_and_again_without_harm(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    rendered = plan(lambda: config_map(namespace, a="1"))
    apply(rendered, kubeconfig)
    first = api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").json()
    apply(rendered, kubeconfig)
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
        apply(plan(program), kubeconfig)
        assert api.get(f"/api/v1/namespaces/{inner}/configmaps/c").json()["data"] == {"a": "1"}
    finally:
        api.delete(f"/api/v1/namespaces/{inner}")


def test_a_secret_reaches_the_cluster(kubeconfig: Path, api: httpx.Client, namespace: str) -> None:
    def program() -> None:
        token = pulumi.Output.secret("hunter2")
        k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": namespace}, string_data={"token": token})

    apply(plan(program), kubeconfig)
    assert api.get(f"/api/v1/namespaces/{namespace}/secrets/s").json()["data"] == {"token": "aHVudGVyMg=="}


def test_what_the_cluster_refuses_is_named_with_its_reason(kubeconfig: Path, namespace: str) -> None:
    def program() -> None:
        k8s.core.v1.Service(
            "s",
            metadata={"name": "s", "namespace": namespace},
            spec={"ports": [{"port": 99999}], "selector": {"a": "b"}},
        )

    with pytest.raises(AssertionError, match=rf"refuses Service {namespace}/s: .*spec\.ports\[0\]\.port"):
        apply(plan(program), kubeconfig)


def test_a_field_of_another_manager_is_not_taken(kubeconfig: Path, api: httpx.Client, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "theirs"}}
    api.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body).raise_for_status()
    with pytest.raises(AssertionError, match="conflict"):
        apply(plan(lambda: config_map(namespace, a="ours")), kubeconfig)
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/c").json()["data"] == {"a": "theirs"}


def test_it_is_taken_where_the_object_says_so(kubeconfig: Path, api: httpx.Client, namespace: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "theirs"}}
    api.post(f"/api/v1/namespaces/{namespace}/configmaps", json=body).raise_for_status()
    apply(plan(lambda: config_map(namespace, a="ours", forced=True)), kubeconfig)
    assert data_of(api, namespace) == {"a": "ours"}


def test_what_did_not_change_is_not_sent_again_until_it_is_refreshed(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    path, state = f"/api/v1/namespaces/{namespace}/configmaps/c", State()
    rendered = plan(lambda: config_map(namespace, a="ours", forced=True))
    apply(rendered, kubeconfig, state)
    api.patch(path, json={"data": {"a": "theirs"}}, headers={"Content-Type": "application/merge-patch+json"})

    apply(rendered, kubeconfig, state)
    unseen = data_of(api, namespace)
    state.refresh(path)
    apply(rendered, kubeconfig, state)

    assert (unseen, data_of(api, namespace)) == ({"a": "theirs"}, {"a": "ours"})


def test_what_is_gone_from_the_program_is_deleted_and_all_of_it_by_a_destroy(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    def both() -> None:
        config_map(namespace, "c", a="1")
        config_map(namespace, "d", a="1")

    state = State()
    apply(plan(both), kubeconfig, state)
    apply(plan(lambda: config_map(namespace, "d", a="1")), kubeconfig, state)
    after = (data_of(api, namespace, "c"), data_of(api, namespace, "d"))
    destroy(kubeconfig, state)

    assert after == (None, {"a": "1"})
    assert data_of(api, namespace, "d") is None
    assert state == State()


def test_a_watch_that_fails_is_the_updates_error_and_what_depends_on_it_is_not_applied(
    kubeconfig: Path, api: httpx.Client, namespace: str
) -> None:
    def program() -> None:
        config_map(namespace, "before", a="1")
        watch = commands.local(
            "watch", commands.ROLLOUT, ["--timeout", 1], triggers=[], stdin="{}", opts=pulumi.ResourceOptions()
        )
        after = pulumi.ResourceOptions(depends_on=[watch])
        k8s.core.v1.ConfigMap("after", metadata={"name": "after", "namespace": namespace}, opts=after)

    state = State()
    apply(plan(lambda: config_map(namespace, "gone", a="1")), kubeconfig, state)
    with pytest.raises(AssertionError, match="watch failed: stdin is not a model"):
        apply(plan(program), kubeconfig, state)

    # As with the engine, what is gone from the program stays until an update ends well.
    assert data_of(api, namespace, "before") == data_of(api, namespace, "gone") == {"a": "1"}
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/after").status_code == 404
    assert not state.commands
