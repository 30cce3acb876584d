"""Why a container ended is told by its pod's status, whatever the log has lost since."""

from collections.abc import Iterator
from typing import Any

import pytest

from smoke import manifests
from tests import serving
from tests.integration import kubeai

POLICY = "terminationMessagePolicy"


def containers(part: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container that an object has, wherever: the pods' own, and the server of an InferenceService."""
    if isinstance(part, list):
        for number, item in enumerate(part):
            yield from containers(item, f"{path}.{number}")
    if isinstance(part, dict):
        for key, item in part.items():
            here = f"{path}.{key}"
            if key in {"containers", "initContainers"}:
                yield from ((f"{here}.{number}", one) for number, one in enumerate(item))
            elif key == "model" and isinstance(item, dict) and "modelFormat" in item:
                yield here, item
            else:
                yield from containers(item, here)


@pytest.mark.parametrize("case", serving.MATRIX, ids=str)
def test_every_container_leaves_the_end_of_its_log_behind(case: serving.Case) -> None:
    recording = serving.run(case.settings)
    found = [
        (f"{body['kind']} {body['metadata']['name']}{path}", container)
        for body in serving.objects(recording)
        for path, container in containers(body.get("spec", {}))
    ]

    # A runtime's container is what KServe makes of it and of the InferenceService's, which says it.
    found = [(name, container) for name, container in found if not name.startswith("ServingRuntime ")]
    assert {name.partition(" ")[0] for name, _ in found} >= {"InferenceService", "DaemonSet"}
    assert [name for name, container in found if container.get(POLICY) != "FallbackToLogsOnError"] == []


def test_a_server_of_the_models_own_does_so_too() -> None:
    server = {"image": "r.example/sglang:v1", "command": ["serve"]}
    recording = serving.run(serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "server": server}}))

    made = serving.one(recording, "InferenceService")["spec"]["predictor"]["model"]
    assert made["runtime"] == "qwen-server"
    assert made[POLICY] == "FallbackToLogsOnError"


def test_kubeais_pods_do_so_by_its_chart_and_without_another_rollout_by_the_model() -> None:
    settings = serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4", "delivery": "kubeai"}})
    recording = serving.run(settings)
    release = recording.only("kubernetes:helm.sh/v3:Release", "kubeai").inputs["values"]
    model = serving.one(recording, "Model")

    (server,) = kubeai.Controller(release).pod({**model, "metadata": {"name": "qwen", "uid": "1"}})["spec"][
        "containers"
    ]
    assert server[POLICY] == "FallbackToLogsOnError"
    assert POLICY not in str(model)


def test_the_containers_of_checks_do_so_too() -> None:
    made = [manifests.image_pod("a", "b"), manifests.image_volume_pod("a", "b"), manifests.scratch_runtime("b")]

    assert all(container[POLICY] == "FallbackToLogsOnError" for body in made for _, container in containers(body))
