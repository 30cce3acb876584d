"""What runs is compared with what the stack says."""

from types import SimpleNamespace
from typing import Any

import pytest

import modelimage
from smoke import deployed as module
from smoke.checks import Check, Status
from smoke.deployed import deployed
from tests.recorded_api import RecordedApi, forbidden, merge
from tests.smoke import stacks
from watch.image import ImageFiles
from watch.kube import Executed, KubeApi

DELIVERIES = ["modelcar", "native", "stream", "kubeai"]
FILES = {"config.json": 659, "model.safetensors": 988097824}
LISTINGS = {
    "modelcar": "659 ./config.json\n988097824 ./model.safetensors\n",
    "native": "659 ./config.json\n988097824 ./model.safetensors\n",
    "stream": "",
    "kubeai": "659 ./config.json\n988097824 ./model.safetensors\n1131168 ./bin/busybox\n"
    "659 ./models/config.json\n988097824 ./models/model.safetensors\n",
}


def deploy(cluster: RecordedApi, delivery: str) -> None:
    path, body = stacks.served(delivery)
    cluster.objects[path] = body
    cluster.objects[f"{stacks.path_of_pods(delivery)}/p-1"] = stacks.pod(delivery)
    names = [stacks.IMAGE, stacks.URIS["kubeai"].removeprefix("oci://")]
    cluster.objects["/api/v1/nodes/n-1"] = stacks.node(["r.example/other@sha256:" + "e" * 64], names)
    cluster.objects |= stacks.around(delivery)
    stream(cluster)


def stream(cluster: RecordedApi, **said: Any) -> None:
    """What the sidecar answers, if it is asked."""
    layers = {"by_list": 2, "whole": 0, "unverified": 0}
    told = {"files": len(FILES), "size_bytes": sum(FILES.values()), "layers": layers, **said}
    answer = {"image": stacks.IMAGE, "digest": stacks.DIGEST, **told}
    cluster.answers["GET", f"{stacks.path_of_pods()}/p-1:9701/proxy/image"] = (200, answer)


def checks(
    api: KubeApi,
    monkeypatch: pytest.MonkeyPatch,
    delivery: str,
    *,
    listing: str | None = None,
    files: ImageFiles | None = None,
    **model: Any,
) -> dict[str, Check]:
    said = LISTINGS[delivery] if listing is None else listing
    monkeypatch.setattr(api, "execute", lambda *_, **__: Executed(0, said, ""))
    monkeypatch.setattr(module, "files_of", lambda _: files or ImageFiles(FILES, complete=True))
    found = deployed(api, stacks.outputs(delivery, **model), [stacks.model(delivery, **model)])
    return {check.name: check for check in found}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_healthy_model_holds(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    deploy(cluster, delivery)

    found = checks(api, monkeypatch, delivery)

    assert {name: check.status for name, check in found.items()} == dict.fromkeys(
        ("controller", "objects", "ready", "digest", "restarts", "files"), Status.PASS
    ) | {"features": Status.SKIP}  # whatever runs here, it is no vLLM
    assert stacks.DIGEST in found["digest"].evidence
    assert "2 files, 988098483 bytes" in found["files"].evidence


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_another_digest_fails_with_both(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    deploy(cluster, delivery)
    other = "sha256:" + "b" * 64

    found = checks(api, monkeypatch, delivery, digest=other, image=f"{stacks.REPOSITORY}@{other}")["digest"]

    assert found.status is Status.FAIL
    assert stacks.DIGEST in found.evidence
    assert other in found.evidence


def inspected(layer: str) -> SimpleNamespace:
    return SimpleNamespace(layers=[SimpleNamespace(digest=layer)], config={"Env": ["PATH=/bin"]})


@pytest.mark.parametrize(("layer_of_the_other", "status"), [("weights", Status.PASS), ("more", Status.FAIL)])
def test_an_image_that_the_node_knows_by_another_digest_holds_if_its_layers_are_the_same(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, layer_of_the_other: str, status: Status
) -> None:
    deploy(cluster, "modelcar")
    other = f"{stacks.REPOSITORY}-again@sha256:{'b' * 64}"
    (modelcar,) = [
        container
        for container in cluster.objects[f"{stacks.path_of_pods()}/p-1"]["status"]["containerStatuses"]
        if container["name"] == "modelcar"
    ]
    modelcar["imageID"] = other
    images = {stacks.IMAGE: inspected("weights"), other: inspected(layer_of_the_other)}
    monkeypatch.setattr(modelimage, "inspect", lambda reference: images[reference])

    assert checks(api, monkeypatch, "modelcar")["digest"].status is status


def test_a_condition_that_does_not_hold_is_shown_with_its_message(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "modelcar")
    path, _ = stacks.served("modelcar")
    message = 'Deployment "x" exceeded its progress deadline'
    merge(
        cluster.objects[path],
        {
            "status": {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "MinimumReplicasUnavailable", "message": message}
                ]
            }
        },
    )

    found = checks(api, monkeypatch, "modelcar")["ready"]

    assert found.status is Status.FAIL
    assert message in found.evidence


def test_a_failing_model_is_diagnosed_from_its_pods_and_events(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "modelcar")
    path, _ = stacks.served("modelcar")
    merge(cluster.objects[path], {"status": {"conditions": []}})
    events = "/api/v1/namespaces/models/events"
    cluster.objects[f"{events}/e-1"] = {
        "metadata": {"name": "e-1"},
        "type": "Warning",
        "reason": "Failed",
        "message": f'Failed to pull image "{stacks.IMAGE}": unexpected status from HEAD request: 403 Forbidden',
        "involvedObject": {"kind": "Pod", "name": "p-1"},
    }

    found = checks(api, monkeypatch, "modelcar")["ready"]

    assert [cause.code for cause in found.causes] == ["pull-forbidden"]
    assert stacks.ACCOUNT in found.remedy


def test_an_unready_kubeai_model_fails_with_its_replicas(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "kubeai")
    path, _ = stacks.served("kubeai")
    merge(cluster.objects[path], {"status": {"replicas": {"ready": 0}}})

    found = checks(api, monkeypatch, "kubeai")["ready"]

    assert found.status is Status.FAIL
    assert "0 of 1 replicas ready" in found.evidence


def test_an_absent_object_fails_with_the_command_that_deploys_it(api: KubeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checks(api, monkeypatch, "modelcar")

    assert {check.status for check in found.values()} == {Status.FAIL}
    assert "pulumi up" in found["ready"].remedy


def test_restarts_are_counted_by_container(api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(cluster, "modelcar")
    cluster.objects[f"{stacks.path_of_pods()}/p-1"]["status"]["containerStatuses"][0]["restartCount"] = 2

    found = checks(api, monkeypatch, "modelcar")["restarts"]

    assert found.status is Status.FAIL
    assert "p-1/kserve-container 2 times" in found.evidence


@pytest.mark.parametrize("delivery", ["modelcar", "native", "kubeai"])
def test_an_empty_mount_fails_with_the_runtime_as_its_cause(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    deploy(cluster, delivery)
    cluster.objects["/api/v1/nodes/n-1"] = {
        "metadata": {"name": "n-1"},
        "status": {"nodeInfo": {"containerRuntimeVersion": "containerd://2.0.6"}},
    }

    found = checks(api, monkeypatch, delivery, listing="")["files"]

    assert found.status is Status.FAIL
    assert [cause.code for cause in found.causes] == ["empty-mount"]
    assert "containerd://2.0.6" in found.evidence


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        ("659 ./config.json\n", "model.safetensors is missing"),
        ("659 ./config.json\n12 ./model.safetensors\n", "model.safetensors has 12 bytes, not 988097824"),
        (LISTINGS["modelcar"] + "7 ./extra.bin\n", "extra.bin is not in the image"),
    ],
)
def test_files_that_differ_from_the_image_are_named(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, listing: str, said: str
) -> None:
    deploy(cluster, "modelcar")

    found = checks(api, monkeypatch, "modelcar", listing=listing)["files"]

    assert found.status is Status.FAIL
    assert said in found.evidence


def test_kubeais_root_without_links_fails_though_the_folder_is_there(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "kubeai")

    found = checks(api, monkeypatch, "kubeai", listing="659 ./models/config.json\n")["files"]

    assert found.status is Status.FAIL
    assert "config.json is missing" in found.evidence


def test_files_beyond_what_could_be_listed_of_the_image_are_no_failure(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "modelcar")
    partly = ImageFiles({"config.json": 659}, complete=False)

    assert checks(api, monkeypatch, "modelcar", files=partly)["files"].status is Status.PASS


def test_a_paused_model_is_skipped_as_ready_and_has_no_pods_to_check(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, body = stacks.served("modelcar")
    merge(body, {"metadata": {"annotations": {"serving.kserve.io/stop": "true"}}})
    cluster.objects[path] = body

    found = checks(api, monkeypatch, "modelcar", paused=True)

    assert {check.status for check in found.values()} == {Status.SKIP}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_model_that_was_paused_by_command_says_so_and_nothing_fails(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    deploy(cluster, delivery)
    path, _ = stacks.served(delivery)
    del cluster.objects[f"{stacks.path_of_pods(delivery)}/p-1"]
    merge(cluster.objects[path], dict(stacks.model(delivery).output.serving.platform.stopped))

    found = checks(api, monkeypatch, delivery)

    assert {check.status for check in found.values()} == {Status.SKIP}
    assert all("paused by command: `oms resume`" in check.evidence for check in found.values())


def test_a_healthy_kubeai_model_at_zero_is_skipped_as_scaled_to_zero(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "kubeai")
    path, _ = stacks.served("kubeai")
    del cluster.objects[f"{stacks.path_of_pods('kubeai')}/p-1"]
    merge(cluster.objects[path], {"spec": {"minReplicas": 0, "replicas": 0}, "status": {"replicas": {"ready": 0}}})

    found = checks(api, monkeypatch, "kubeai", replicas=0)

    assert {name for name, check in found.items() if check.status is Status.PASS} == {"controller", "objects"}
    assert {check.status for check in found.values()} == {Status.PASS, Status.SKIP}
    assert "scaled to zero" in found["ready"].evidence


def test_a_kubeai_model_that_should_have_a_pod_by_now_is_not_taken_for_scaled_to_zero(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "kubeai")
    path, _ = stacks.served("kubeai")
    del cluster.objects[f"{stacks.path_of_pods('kubeai')}/p-1"]
    merge(cluster.objects[path], {"spec": {"minReplicas": 0, "replicas": 1}})

    assert checks(api, monkeypatch, "kubeai", replicas=0)["ready"].status is Status.FAIL


def test_kserve_that_mounts_what_the_delivery_calls_a_modelcar_is_known_by_its_pods(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adopted KServe in `ociModelMode: native` makes image volumes of `oci://`."""
    deploy(cluster, "modelcar")
    cluster.objects[f"{stacks.path_of_pods()}/p-1"] = stacks.pod("native")

    found = checks(api, monkeypatch, "modelcar")

    assert {check.status for check in found.values() if check.name != "features"} == {Status.PASS}
    assert "the images of node n-1" in found["digest"].evidence


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_every_object_that_a_model_needs_turns_the_check_red_when_it_is_gone(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    for path in stacks.around(delivery):
        deploy(cluster, delivery)
        del cluster.objects[path]

        found = checks(api, monkeypatch, delivery)

        failed = {name for name, check in found.items() if check.status is Status.FAIL}
        assert failed == ({"controller"} if "/deployments/" in path else {"objects"}), path
        (name,) = failed
        assert path.rpartition("/")[2] in found[name].evidence or name == "controller"
        assert found[name].remedy


@pytest.mark.parametrize("delivery", ["modelcar", "kubeai"])
def test_what_a_chart_has_made_comes_back_by_its_manifest_since_the_engine_does_not_look_into_releases(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str
) -> None:
    deploy(cluster, delivery)
    kind, name = (
        ("mutatingwebhookconfigurations", "kserve-resources -n kserve")
        if delivery == "modelcar"
        else ("services", "kubeai -n kubeai")
    )
    del cluster.objects[next(path for path in stacks.around(delivery) if f"/{kind}/" in path)]

    found = checks(api, monkeypatch, delivery)["objects"]

    assert found.status is Status.FAIL
    assert f"`helm get manifest {name} | kubectl apply" in found.remedy


SECRET = {"valueFrom": {"secretKeyRef": {"name": "token", "key": "TOKEN"}}}
OPTIONAL = {"valueFrom": {"secretKeyRef": {"name": "extra", "key": "TOKEN", "optional": True}}}


@pytest.mark.parametrize(
    ("delivery", "spec"),
    [
        ("modelcar", {"predictor": {"priorityClassName": "high", "model": {"env": [SECRET, OPTIONAL, {"name": "A"}]}}}),
        ("kubeai", {"priorityClassName": "high", "envFrom": [{"secretRef": {"name": "token"}}]}),
    ],
)
def test_what_the_spec_names_of_others_must_be_there(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, delivery: str, spec: dict[str, Any]
) -> None:
    deploy(cluster, delivery)
    path, _ = stacks.served(delivery)
    merge(cluster.objects[path], {"spec": spec})

    found = checks(api, monkeypatch, delivery)["objects"]

    assert found.status is Status.FAIL
    assert "there is no PriorityClass high in the cluster: no new pod can be made" in found.evidence
    assert "there is no Secret token in" in found.evidence
    assert "extra" not in found.evidence
    assert any("`models.NAME.priorityClass`" in cause.remedy for cause in found.causes)


def test_a_controller_that_was_scaled_to_none_fails_though_its_deployment_calls_itself_available(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "modelcar")
    path = "/apis/apps/v1/namespaces/kserve/deployments/kserve-controller-manager"
    cluster.objects[path]["status"] = {"conditions": [{"type": "Available", "status": "True"}], "replicas": 0}

    found = checks(api, monkeypatch, "modelcar")["controller"]

    assert found.status is Status.FAIL
    assert "kserve/kserve-controller-manager has no available pod" in found.evidence


def test_a_status_of_before_is_no_comfort_where_the_pods_are_not_ready(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "modelcar")
    cluster.objects[f"{stacks.path_of_pods()}/p-1"]["status"]["conditions"][0]["status"] = "False"

    found = checks(api, monkeypatch, "modelcar")["ready"]

    assert found.status is Status.FAIL
    assert "says that it is ready; 0 of 1 pods are" in found.evidence


def test_objects_that_may_not_be_read_are_named_and_do_not_fail(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(cluster, "modelcar")
    path = next(path for path in stacks.around() if "poddisruptionbudgets" in path)
    cluster.answers["GET", path] = forbidden("no")

    found = checks(api, monkeypatch, "modelcar")["objects"]

    assert found.status is Status.PASS
    assert f"not to be read: PodDisruptionBudget {stacks.NAME}" in found.evidence


def test_an_unreachable_api_server_fails_the_check_with_the_error(
    cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = KubeApi(cluster.kubeconfig.replace(cluster.url, "http://127.0.0.1:1"))

    found = checks(away, monkeypatch, "modelcar")

    assert {check.status for check in found.values()} == {Status.FAIL}
    assert "ConnectError" in found["ready"].evidence


@pytest.mark.parametrize("said", [{"files": 1}, {"size_bytes": 3}])
def test_a_sidecar_that_serves_other_files_than_the_images_fails(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, said: dict[str, int]
) -> None:
    deploy(cluster, "stream")
    stream(cluster, **said)

    found = checks(api, monkeypatch, "stream")["files"]

    assert found.status is Status.FAIL
    assert "the image has 2 of 988098483" in found.evidence


@pytest.mark.parametrize(
    ("volume", "missing"),
    [
        ({"name": "stream-code", "configMap": {"name": "qwen-stream-0123456789"}}, "ConfigMap qwen-stream-0123456789"),
        ({"name": "stream-logins", "secret": {"secretName": "private"}}, "Secret private"),
    ],
)
def test_what_the_sidecar_mounts_and_is_gone_is_named(
    api: KubeApi, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, volume: dict[str, Any], missing: str
) -> None:
    deploy(cluster, "stream")
    path, _ = stacks.served("stream")
    cluster.objects[path]["spec"]["predictor"]["volumes"] = [volume]

    found = checks(api, monkeypatch, "stream")["objects"]

    assert found.status is Status.FAIL
    assert f"there is no {missing}" in found.evidence
