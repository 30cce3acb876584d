"""The builder cluster against a real API server and its Job controller; the test ends the pods, as a kubelet would."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from modelimage.progress import Reporter
from oci_model_serving.reference import RegistryReference
from tests.integration import cluster
from watch import job_run, signs, waiting
from watch.causes import NotHeldError
from watch.cluster_build import ClusterBuild, pack_in_cluster
from watch.job_run import JobRun
from watch.kube import KubeApi, namespaced
from watch.pack_job import CONTAINER, LABEL, PackJob, PodPlace

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("cluster")]

SECONDS = 90
HUB = "hf://org/name@" + "c" * 40
DESTINATION = "registry.example/models/qwen"
DIGEST = "sha256:" + "a" * 64
TOKEN = "hf_not-a-real-one"


@pytest.fixture
def place(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PodPlace]:
    """Three pods that no node takes, in a namespace that takes none with rights."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    for module in (job_run, waiting):  # how often a cluster is asked is no question of these tests
        monkeypatch.setattr(module, "POLL_SECONDS", 0.2)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    with cluster.namespace(kubeconfig, "build", restricted) as name:
        yield PodPlace(name, pods=3, node_selector={"tests/nowhere": "true"}, timeout_seconds=SECONDS)


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def well(index: int, **more: Any) -> tuple[int, str]:
    """How the pod of an index ends that has packed its share."""
    return 0, json.dumps({"share": index + 1, "layers": 2, "size_bytes": 10, "uploaded_bytes": 7, **more})


def done(index: int, _: int) -> tuple[int, str]:
    """The last one makes the image."""
    image = {"digest": DIGEST, "size_bytes": 30, "traits": {"task": "embedding"}}
    return well(index, **({"image": image} if index == 2 else {}))


Ends = Callable[[int, int], tuple[int, str] | None]


@dataclass
class Kubelet:
    """Ends each pod by its index and how often there was one before, and keeps what it saw."""

    admin: httpx.Client
    namespace: str
    ends: Ends
    secrets: list[dict[str, str]] = field(default_factory=list)
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def look(self) -> None:
        pods = self.admin.get(namespaced("v1", self.namespace, "pods")).json()["items"]
        for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
            if (pod.get("status") or {}).get("phase") != "Pending" or pod["metadata"].get("deletionTimestamp"):
                continue
            index = int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])
            name = pod["metadata"]["name"]
            before = sum(1 for other, _ in self._seen.values() if other == index)
            self._seen.setdefault(name, (index, before))
            end = self.ends(*self._seen[name])
            if end:
                self._end(name, *end)
        found = self.admin.get(namespaced("v1", self.namespace, "secrets")).json()["items"]
        self.secrets += [dict(one.get("data") or {}) for one in found]

    def _end(self, name: str, code: int, message: str) -> None:
        terminated = {"exitCode": code, "message": message, "reason": "Completed" if code == 0 else "Error"}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [
                {
                    "name": CONTAINER,
                    "image": "python",
                    "imageID": "",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": terminated},
                }
            ],
        }
        self.admin.patch(
            namespaced("v1", self.namespace, "pods", f"{name}/status"),
            json={"status": status},
            headers={"Content-Type": "application/merge-patch+json"},
        ).raise_for_status()


@contextmanager
def ending(kubeconfig: Path, place: PodPlace, ends: Ends) -> Iterator[Kubelet]:
    """Play the kubelet until the block ends."""
    over = threading.Event()
    with cluster.client(kubeconfig) as admin:
        kubelet = Kubelet(admin, place.namespace, ends)

        def play() -> None:
            while not over.wait(0.3):
                kubelet.look()

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield kubelet
        finally:
            over.set()
            thread.join()


def build(kubeconfig: Path, place: PodPlace, teller: Teller | None = None, **files: Any) -> ClusterBuild:
    return pack_in_cluster(HUB, DESTINATION, place, kubeconfig=kubeconfig, files=files, reporter=teller or Teller())


def left(kubeconfig: Path, place: PodPlace) -> list[str]:
    kinds = ("v1", "pods"), ("v1", "configmaps"), ("v1", "secrets"), ("batch/v1", "jobs")
    with cluster.client(kubeconfig) as admin:
        return [
            f"{kind} {found['metadata']['name']}"
            for version, kind in kinds
            for found in admin.get(namespaced(version, place.namespace, kind), params={"labelSelector": LABEL}).json()[
                "items"
            ]
        ]


def test_the_digest_is_the_one_that_the_last_pod_tells_and_nothing_is_left(kubeconfig: Path, place: PodPlace) -> None:
    teller = Teller()
    with ending(kubeconfig, place, done) as kubelet:
        made = build(kubeconfig, place, teller)

    assert (made.digest, made.reference) == (DIGEST, f"{DESTINATION}@{DIGEST}")
    assert (made.size_bytes, made.shares, made.uploaded_bytes) == (30, 3, 21)
    assert made.as_json()["task"] == "embedding"
    assert "share 2/3: 2 layers, 10 B, of which 7 B were sent" in teller.lines
    assert any("HF_TOKEN" in secret for secret in kubelet.secrets)
    assert TOKEN not in "\n".join(teller.lines)
    assert left(kubeconfig, place) == []


def test_what_can_never_work_ends_all_pods_at_once_with_their_words(kubeconfig: Path, place: PodPlace) -> None:
    def refused(index: int, _: int) -> tuple[int, str] | None:
        return (2, "listing\nerror: hf://org/name: no such commit: give one\n") if index == 1 else None

    with (
        ending(kubeconfig, place, refused),
        pytest.raises(
            NotHeldError, match=r"Job pack-qwen-\S+ failed \(PodFailurePolicy\): share 2, exit code 2: hf://"
        ) as failed,
    ):
        build(kubeconfig, place)

    assert "no such commit: give one" in str(failed.value)
    assert "listing" not in str(failed.value)
    assert left(kubeconfig, place) == []


def test_a_share_that_fails_is_repeated_alone_and_others_are_not(kubeconfig: Path, place: PodPlace) -> None:
    ended: list[tuple[int, int]] = []

    def once(index: int, before: int) -> tuple[int, str]:
        ended.append((index, before))
        return (1, "error: a broken line") if (index, before) == (1, 0) else done(index, before)

    with ending(kubeconfig, place, once):
        assert build(kubeconfig, place).digest == DIGEST
    assert sorted(set(ended)) == [(0, 0), (1, 0), (1, 1), (2, 0)]


def test_pods_that_make_no_image_are_not_believed(kubeconfig: Path, place: PodPlace) -> None:
    with (
        ending(kubeconfig, place, lambda index, _: well(index)),
        pytest.raises(NotHeldError, match="no pod is left that tells the digest") as failed,
    ):
        build(kubeconfig, place)
    assert "run the same again" in str(failed.value)


def test_a_build_that_another_has_left_is_waited_for(kubeconfig: Path, place: PodPlace) -> None:
    arguments = {"source": HUB, "destination": DESTINATION, "base": "scratch"}
    job = PackJob(RegistryReference("registry.example", "models/qwen"), arguments, place, {"HF_TOKEN": TOKEN})
    api = KubeApi(kubeconfig)
    JobRun(api, job, Teller())._start()
    api.close()
    teller = Teller()

    with ending(kubeconfig, place, done):
        assert build(kubeconfig, place, teller).digest == DIGEST

    assert any("is under way already" in line for line in teller.lines)
    assert left(kubeconfig, place) == []


def test_a_build_that_was_never_let_go_or_has_ended_is_made_anew(kubeconfig: Path, place: PodPlace) -> None:
    arguments = {"source": HUB, "destination": DESTINATION, "base": "scratch"}
    job = PackJob(RegistryReference("registry.example", "models/qwen"), arguments, place)
    api = KubeApi(kubeconfig)
    api.create(namespaced("batch/v1", place.namespace, "jobs"), job.job)
    api.close()

    with ending(kubeconfig, place, done):
        assert build(kubeconfig, place).digest == DIGEST


def test_two_who_make_the_same_build_at_once_share_it(kubeconfig: Path, place: PodPlace) -> None:
    held = threading.Event()

    def late(index: int, before: int) -> tuple[int, str] | None:
        return done(index, before) if held.is_set() else None

    tellers = Teller(), Teller()
    with ending(kubeconfig, place, late), ThreadPoolExecutor(2) as both:
        builds = [both.submit(build, kubeconfig, place, teller) for teller in tellers]
        cluster.wait_for(lambda: sum("Job pack-" in " ".join(teller.lines) for teller in tellers) == 2)
        with cluster.client(kubeconfig) as admin:
            assert len(admin.get(namespaced("batch/v1", place.namespace, "jobs")).json()["items"]) == 1
        held.set()
        made = [one.exception() or one.result() for one in builds]
    # Whoever is first deletes it; the other has what a pod told of the image, or has not looked since and runs again.
    assert any(isinstance(one, ClusterBuild) and one.digest == DIGEST for one in made)
    assert all("run the same again" in str(one) for one in made if isinstance(one, Exception))
    assert left(kubeconfig, place) == []


def test_an_account_that_there_is_not_is_told_with_its_setting(
    kubeconfig: Path, place: PodPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signs, "COMPLAINT_SECONDS", 3.0)
    with pytest.raises(NotHeldError, match=r'serviceaccount "nobody" not found') as failed:
        build(kubeconfig, replace(place, service_account="nobody"))
    assert "clusterBuild.serviceAccount" in str(failed.value)
    assert left(kubeconfig, place) == []


def test_too_little_time_is_told_with_its_setting(kubeconfig: Path, place: PodPlace) -> None:
    with ending(kubeconfig, place, lambda *_: None):
        late = replace(place, timeout_seconds=60)
        api = KubeApi(kubeconfig)
        job = PackJob(
            RegistryReference("registry.example", "models/qwen"),
            {"source": HUB, "destination": DESTINATION, "base": "scratch"},
            replace(late, timeout_seconds=5),
        )
        with pytest.raises(NotHeldError, match="DeadlineExceeded") as failed:
            JobRun(api, job, Teller()).run()
        api.close()
    assert "clusterBuild.timeout" in str(failed.value)
    assert left(kubeconfig, place) == []


def test_a_job_that_somebody_deletes_is_missed(kubeconfig: Path, place: PodPlace) -> None:
    over = threading.Event()

    def delete() -> None:
        with cluster.client(kubeconfig) as admin:
            jobs = namespaced("batch/v1", place.namespace, "jobs")
            while not over.wait(1):
                for found in admin.get(jobs).json()["items"]:
                    if not found["spec"]["suspend"]:
                        admin.delete(f"{jobs}/{found['metadata']['name']}", params={"propagationPolicy": "Background"})

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        with pytest.raises(NotHeldError, match="was deleted by somebody else"):
            build(kubeconfig, place)
    finally:
        over.set()
        thread.join()


def test_an_interrupt_deletes_all_and_says_how_to_go_on(
    kubeconfig: Path, place: PodPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def interrupted(*_: object) -> None:
        looks.append(time.monotonic())
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(JobRun, "_judge", interrupted)
    with pytest.raises(KeyboardInterrupt, match="run the same command again to go on"):
        build(kubeconfig, place)
    assert left(kubeconfig, place) == []


def test_whoever_may_not_make_secrets_is_told_and_leaves_no_job(
    kubeconfig: Path, place: PodPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rights of docs/weights.md without those on Secrets, by a token of a service account."""
    with cluster.client(kubeconfig) as admin:
        for path, body in role(place.namespace, secrets=False):
            admin.post(path, json=body).raise_for_status()
        monkeypatch.setenv("OMS_KUBECONFIG", restricted_kubeconfig(admin, kubeconfig, place.namespace))
    with pytest.raises(NotHeldError, match="secrets is forbidden"):
        pack_in_cluster(HUB, DESTINATION, place, reporter=Teller())
    assert left(kubeconfig, place) == []


def test_the_rights_of_the_page_are_enough(kubeconfig: Path, place: PodPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster.client(kubeconfig) as admin:
        for path, body in role(place.namespace, secrets=True):
            admin.post(path, json=body).raise_for_status()
        monkeypatch.setenv("OMS_KUBECONFIG", restricted_kubeconfig(admin, kubeconfig, place.namespace))
    with ending(kubeconfig, place, done):
        assert pack_in_cluster(HUB, DESTINATION, place, reporter=Teller()).digest == DIGEST
    assert left(kubeconfig, place) == []


def role(namespace: str, *, secrets: bool) -> list[tuple[str, dict[str, Any]]]:
    """The Role of docs/weights.md, for the service account `builder`."""
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    text = page.partition("kind: Role\n")[2].partition("```")[0]
    rules = yaml.safe_load("kind: Role\n" + text)["rules"]
    if not secrets:
        rules = [
            {**rule, "resources": [one for one in rule["resources"] if one != "secrets"]}
            for rule in rules
            if rule["resources"] != ["secrets"]
        ]
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    subject = {"kind": "ServiceAccount", "name": "builder", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "builder"}
    metadata = {"name": "builder"}
    return [
        (namespaced("v1", namespace, "serviceaccounts"), {"metadata": metadata}),
        (f"{rbac}/roles", {"metadata": metadata, "rules": rules}),
        (f"{rbac}/rolebindings", {"metadata": metadata, "roleRef": reference, "subjects": [subject]}),
    ]


def restricted_kubeconfig(admin: httpx.Client, kubeconfig: Path, namespace: str) -> str:
    """The text of a kubeconfig of the service account `builder`."""
    path = namespaced("v1", namespace, "serviceaccounts", "builder/token")
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = admin.post(path, json=body).raise_for_status().json()["status"]["token"]
    config = yaml.safe_load(kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    return str(yaml.safe_dump(config))
