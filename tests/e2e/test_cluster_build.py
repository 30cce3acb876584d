"""The builder cluster on a real node: pods of an Indexed Job pack a share each, and make one machine's digest."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from modelimage import pack
from modelimage.progress import Reporter
from oci_model_serving.reference import SHARE_TAG_PREFIX
from tests.e2e import step_image
from tests.e2e.conftest import SECONDS, Node
from tests.hub import COMMIT, Account, FakeHub
from tests.integration import cluster
from tests.modelimage.servers import Answer, Request
from tests.weights import safetensors_bytes
from watch.causes import NotHeldError
from watch.cluster_build import ClusterBuild, pack_in_cluster
from watch.kube import JSON, namespaced
from watch.pack_job import LABEL, PodPlace

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("cluster")]

NAME = "org/name"
HUB = f"hf://{NAME}@{COMMIT}"
TOKEN = "hf_not-a-real-one"
SHARDS = {f"model-{n:05d}-of-00006.safetensors": 4_000_000 + n * 1_000_000 for n in range(1, 7)}
HELD = "model-00006-of-00006.safetensors"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


class HoldingHub(FakeHub):
    """A gated model's hub that can keep one file's content back."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.go.set()

    def _content_elsewhere(self, request: Request) -> Answer:
        answer = super()._content_elsewhere(request)
        if HELD in request.path and "range" not in request.headers:
            self.go.wait(SECONDS)
        return answer

    @property
    def ports(self) -> list[int]:
        return [int(urlsplit(address).port or 0) for address in (self.address, self.cdn)]

    def contents(self) -> list[str]:
        """The shards that were fetched whole, each as often as it was."""
        whole = [one for one in self.elsewhere if one.method == "GET" and "range" not in one.headers]
        return sorted(urlsplit(one.path).path.rpartition("/")[2] for one in whole)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HoldingHub]:
    generator = random.Random(1)  # noqa: S311 - test data
    files = {name: safetensors_bytes(generator.randbytes(size)) for name, size in SHARDS.items()}
    index = {"weight_map": {str(number): name for number, name in enumerate(files)}}
    with HoldingHub() as fake:
        fake.add(
            NAME,
            {**files, "config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()},
            gated=True,
        )
        fake.accounts[TOKEN] = Account(granted={NAME})
        fake.used_by(monkeypatch, tmp_path / "hub-cache")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield fake


@pytest.fixture(scope="module")
def image(node: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the pods run: all that the packer needs, since the node has no package index."""
    return step_image.push(cluster.REGISTRY, f"{node.token}/step", tmp_path_factory.mktemp("step"))


@pytest.fixture
def place(node: Node, image: str, hub: HoldingHub) -> Iterator[PodPlace]:
    """Three small pods in a namespace that takes none with rights."""
    registry = int(cluster.REGISTRY.rpartition(":")[2])
    with (
        cluster.namespace(node.admin, node.token, RESTRICTED) as name,
        step_image.reachable(registry, *hub.ports) as env,
    ):
        yield PodPlace(name, pods=3, image=image, cpu="50m", memory="256Mi", timeout_seconds=3 * SECONDS, env=env)


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)
        print(text, file=sys.stderr)


def build(node: Node, place: PodPlace, repository: str, teller: Reporter | None = None) -> ClusterBuild:
    destination = f"{node.registry}/{repository}"
    return pack_in_cluster(HUB, destination, place, kubeconfig=node.kubeconfig, reporter=teller or Teller())


def of_build(node: Node, place: PodPlace) -> list[JSON]:
    """All that builds have made in the namespace."""
    kinds = ("v1", "pods"), ("v1", "configmaps"), ("v1", "secrets"), ("batch/v1", "jobs")
    return [
        found
        for version, kind in kinds
        for found in node.api.items(namespaced(version, place.namespace, kind), labelSelector=LABEL)
    ]


def pods(node: Node, place: PodPlace, phase: str) -> list[JSON]:
    found = node.api.items(namespaced("v1", place.namespace, "pods"), labelSelector=LABEL)
    return [pod for pod in found if pod["status"].get("phase") == phase]


def index_of(pod: JSON) -> str:
    return str(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


@pytest.fixture
def expected(hub: HoldingHub, tmp_path: Path) -> Any:
    """The image that one machine makes."""
    made = pack(HUB, f"oci:{tmp_path / 'whole'}", cache=tmp_path / "cache")
    hub.forget()
    return made


def without_lists(image: Any) -> int:
    """The bytes of an image's layers but the last, which holds the chunk lists of all and is no share's."""
    return int(sum(layer.size_bytes for layer in image.layers[:-1]))


def test_three_pods_make_one_machines_image_and_one_that_is_killed_repeats_its_share_alone(
    node: Node, place: PodPlace, hub: HoldingHub, expected: Any
) -> None:
    hub.go.clear()
    teller = Teller()
    with ThreadPoolExecutor(1) as driver:
        building = driver.submit(build, node, place, "shared", teller)
        cluster.wait_for(lambda: building.done() or len(pods(node, place, "Succeeded")) == 2, SECONDS)
        (running,) = pods(node, place, "Running")
        name = running["metadata"]["name"]
        with cluster.client(node.admin) as admin:
            # Without grace: the process ends in the middle of its share.
            path = namespaced("v1", place.namespace, "pods", name)
            admin.delete(path, params={"gracePeriodSeconds": 0}).raise_for_status()

        def replaced() -> bool:
            others = [pod for pod in pods(node, place, "Running") if pod["metadata"]["name"] != name]
            return building.done() or index_of(running) in map(index_of, others)

        cluster.wait_for(replaced, SECONDS)
        hub.go.set()
        made = building.result(SECONDS)

    assert made.digest == expected.digest
    assert made.size_bytes == expected.size_bytes
    assert made.traits == expected.traits
    # Every shard was read once, and again only what the killed pod had of its share.
    again = [name for name in SHARDS if hub.contents().count(name) > 1]
    assert HELD in again
    assert len(again) <= 2
    assert sorted(set(hub.contents())) == sorted(SHARDS)
    assert made.uploaded_bytes == without_lists(expected)
    assert any(line.startswith("[") and "stored" in line for line in teller.lines)
    assert of_build(node, place) == []
    assert TOKEN not in "\n".join(teller.lines)


def test_what_is_packed_is_not_sent_again(node: Node, place: PodPlace, hub: HoldingHub, expected: Any) -> None:
    first = build(node, place, "again")
    hub.forget()

    second = build(node, place, "again")

    assert (first.digest, first.uploaded_bytes) == (expected.digest, without_lists(expected))
    assert (second.digest, second.uploaded_bytes) == (expected.digest, 0)
    assert hub.contents() == []


def test_more_shares_than_pods_are_packed_one_after_the_other(
    node: Node, place: PodPlace, hub: HoldingHub, expected: Any
) -> None:
    made = build(node, replace(place, pods=2, shares=5), "more")
    assert (made.digest, made.shares) == (expected.digest, 5)


def test_a_build_that_fails_says_what_its_pods_said_and_leaves_nothing(
    node: Node, place: PodPlace, hub: HoldingHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The plan is made from a listing that is public; the files are not.
    hub.accounts[TOKEN].granted.clear()
    with pytest.raises(NotHeldError, match=r"Job pack-\S+ failed .*: share \d, exit code \d: .*gated|access") as failed:
        build(node, place, "fails")
    assert TOKEN not in str(failed.value)
    assert of_build(node, place) == []


def test_an_image_that_cannot_be_pulled_is_told_with_the_setting(node: Node, place: PodPlace, hub: HoldingHub) -> None:
    with pytest.raises(NotHeldError, match="pull keeps failing") as failed:
        build(node, replace(place, image=f"{cluster.REGISTRY}/nothing:1"), "unpulled")
    assert "clusterBuild.image" in str(failed.value)
    assert of_build(node, place) == []


def test_an_interrupt_leaves_nothing_in_the_cluster(node: Node, place: PodPlace, hub: HoldingHub) -> None:
    hub.go.clear()
    words = ["image", "clusterbuild", HUB, f"{node.registry}/stopped", "--kubeconfig", str(node.kubeconfig)]
    words += ["--namespace", place.namespace, "--pods", "3", "--step-image", place.image, "--cpu", "50m"]
    words += ["--memory", "256Mi", *(word for pair in place.env.items() for word in ("--env", "=".join(pair)))]
    command = subprocess.Popen(
        [sys.executable, "-m", "oms", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        cluster.wait_for(lambda: command.poll() is not None or HELD in hub.contents(), SECONDS)
        command.send_signal(signal.SIGINT)
        out, said = command.communicate(timeout=SECONDS)
    finally:
        command.kill()
        hub.go.set()
    assert (command.returncode, out) == (130, ""), said
    assert "run the same command again to go on" in said
    assert of_build(node, place) == []
    tags = node_tags(node, "stopped")
    assert all(tag.startswith(SHARE_TAG_PREFIX) for tag in tags)


def node_tags(node: Node, repository: str) -> list[str]:
    answer = httpx.get(f"http://{cluster.REGISTRY}/v2/{node.token}/{repository}/tags/list", trust_env=False)
    return list(answer.json().get("tags") or []) if answer.is_success else []
