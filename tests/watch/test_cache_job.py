"""The Job that makes a compile cache: the server as it is served, and the packer behind it."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from components.serving import vllm
from components.settings.models import StackModel
from components.settings.reader import parse
from modelimage.cache_key import ANNOTATION, CacheKey
from modelimage.progress import Reporter
from modelimage.traits import Traits
from oci_model_serving.errors import InputError
from oci_model_serving.reference import ImageReference, RegistryReference
from tests import serving
from tests.components.serving.test_compile_cache import CACHE, KSERVE, MOUNT, SERVER
from tests.mocks import DIGEST, built
from tests.recorded_api import RecordedApi
from watch import cache_job
from watch.cache_job import CacheJob, Making, arguments
from watch.cache_making import make_cache
from watch.causes import NotHeldError
from watch.job_run import JobRun
from watch.kube import JSON, KubeApi, namespaced
from watch.pack_job import PodPlace

DESTINATION = "registry.example/models/qwen-compile-cache"
PLACE = PodPlace(namespace="builds", pods=1, registry_secret="push", service_account="packer")
IMAGE = ImageReference.parse(serving.IMAGE)


def model(**fields: Any) -> StackModel:
    given = {"digest": serving.IMAGE, "nodePool": "l4", **fields}
    settings = serving.gke({"qwen": given}, platforms={"kserve": KSERVE})
    return parse(settings, stack="dev", project="demo", region="us-central1").models["qwen"]


def making(**fields: Any) -> Making:
    return Making(model(**fields), IMAGE)


def job(made: Making | None = None, place: PodPlace = PLACE) -> CacheJob:
    made = made or making()
    repository = RegistryReference("registry.example", "models/qwen-compile-cache")
    return CacheJob(repository, arguments(made, DESTINATION), place, making=made)


def pod_of(made: CacheJob) -> JSON:
    return dict(made.job["spec"]["template"]["spec"])


def test_the_server_is_started_as_it_is_served_and_before_what_packs() -> None:
    fields: dict[str, Any] = {"args": ["--max-model-len=4096"], "env": {"VLLM_USE_AOT_COMPILE": "1"}}
    pod = pod_of(job(making(**fields)))
    (server,), (packer,) = pod["initContainers"], pod["containers"]
    served = serving.one(
        serving.run(
            serving.gke({"qwen": {"digest": serving.IMAGE, "nodePool": "l4", **fields}}, platforms={"kserve": KSERVE})
        ),
        "InferenceService",
    )["spec"]["predictor"]["model"]

    assert server["image"] == SERVER
    assert server["args"] == ["--model=/mnt/models", "--port=8080", *served["args"]]
    assert server["env"] == served["env"]
    assert server["resources"] == served["resources"]
    assert server["command"][-4:] == vllm.COMMAND
    assert packer["name"] == "pack"


def test_it_runs_on_the_models_nodes_with_its_image_mounted_where_the_server_looks() -> None:
    made = making()
    pod = pod_of(job(made))

    assert pod["nodeSelector"] == dict(made.model.scheduling.node_selector)
    assert pod["tolerations"] == [dict(one) for one in made.model.scheduling.tolerations]
    assert {"name": "weights", "image": {"reference": serving.IMAGE, "pullPolicy": "IfNotPresent"}} in pod["volumes"]
    mounts = {mount["mountPath"]: mount for mount in pod["initContainers"][0]["volumeMounts"]}
    assert mounts["/mnt/models"] == {
        "name": "weights",
        "mountPath": "/mnt/models",
        "subPath": "models",
        "readOnly": True,
    }


@pytest.mark.parametrize(
    ("env", "packed", "volume"),
    [
        ({}, "/made/.cache/vllm", "server-tmp"),
        ({"XDG_CACHE_HOME": "/tmp/x"}, "/made/x/vllm", "server-tmp"),  # noqa: S108 - a pod's
        ({"VLLM_CACHE_ROOT": "/var/cache/vllm"}, "/made", "made"),
    ],
)
def test_what_the_server_leaves_is_where_the_packer_looks(env: dict[str, str], packed: str, volume: str) -> None:
    pod = pod_of(job(making(env=env)))
    (server,), (packer,) = pod["initContainers"], pod["containers"]

    assert json.loads(packer["args"][0])["compile_cache"]["folder"] == packed
    assert {"name": volume, "mountPath": "/made", "readOnly": True} in packer["volumeMounts"]
    (written,) = [mount for mount in server["volumeMounts"] if mount["name"] == volume]
    at = written["mountPath"]
    folder = env.get("VLLM_CACHE_ROOT") or env.get("XDG_CACHE_HOME", f"{at}/.cache") + "/vllm"
    assert packed == "/made" + folder.removeprefix(at)
    assert {volume} <= {one["name"] for one in pod["volumes"] if "emptyDir" in one}


def test_one_user_writes_and_reads_it_and_has_no_rights() -> None:
    pod = pod_of(job())

    assert pod["securityContext"]["runAsUser"] == vllm.UID
    assert "runAsGroup" not in pod["securityContext"]
    for container in (*pod["initContainers"], *pod["containers"]):
        context = container["securityContext"]
        assert context.get("runAsUser", vllm.UID) == vllm.UID
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "packer"


def test_a_server_that_does_not_start_is_not_started_again_but_a_node_that_goes_is_no_failure() -> None:
    rules = job().job["spec"]["podFailurePolicy"]["rules"]

    assert rules[0] == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}
    assert {
        "action": "FailJob",
        "onExitCodes": {"containerName": "server", "operator": "NotIn", "values": [0]},
    } in rules
    assert (job().job["spec"]["completions"], job().job["spec"]["parallelism"]) == (1, 1)


def test_variables_that_are_in_secrets_of_the_models_namespace_are_left_out() -> None:
    served = model(env={"KEY": {"secretKeyRef": {"name": "keys", "key": "a"}}, "A": "b"})
    secret = served.settings.model_copy(update={"secret_env": {"TOKEN": SecretStr("v")}})
    made = Making(replace(served, settings=secret), IMAGE)

    names = {one["name"]: one for one in made.container["env"]}
    assert names["A"] == {"name": "A", "value": "b"}
    assert not {"KEY", "TOKEN"} & set(names)


def test_the_key_is_the_one_that_the_program_finds_fitting() -> None:
    lora = f"registry.example/models/lora@{DIGEST}"
    fields: dict[str, Any] = {"args": ["--max-model-len=4096"], "adapters": {"sql": {"digest": lora}}}
    made = Making(model(**fields), IMAGE, Traits(), {"sql": ImageReference.parse(lora)}, {"sql": 8})
    given = {"digest": serving.IMAGE, "nodePool": "l4", "compileCache": {"digest": CACHE}, **fields}
    packed = arguments(made, DESTINATION)["compile_cache"]["key"]
    noted = {"qwen-compile-cache": {ANNOTATION: CacheKey.model_validate(packed).written()}}

    recording = serving.run(
        serving.gke({"qwen": given}, platforms={"kserve": KSERVE}),
        answer=built(annotations=noted, traits={"lora": {"lora_rank": 8}}),
    )

    predictor = serving.one(recording, "InferenceService")["spec"]["predictor"]
    assert predictor["volumes"][-1]["image"]["reference"] == CACHE
    assert MOUNT in predictor["model"]["volumeMounts"]
    assert {mount["mountPath"] for mount in made.container["volumeMounts"]} >= {"/adapters/sql"}


def test_each_other_model_server_and_place_is_a_job_of_its_own() -> None:
    digest = "sha256:" + "d" * 64
    jobs = [
        job(),
        job(making(args=["--max-model-len=1"])),
        job(replace(making(), image=replace(IMAGE, digest=digest))),
        job(place=replace(PLACE, namespace="other")),
    ]

    assert len({one.name for one in jobs}) == len(jobs)
    assert all(one.name.startswith("cache-qwen-compile-cache-") and len(one.name) <= 63 for one in jobs)
    assert job().name == job().name


# What becomes of it.


@pytest.fixture
def under_way(cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Job is there already, so that its pods can be what a test says; its path."""
    monkeypatch.setattr("watch.job_run.POLL_SECONDS", 0.01)
    path = namespaced("batch/v1", "builds", "jobs", job().name)
    cluster.objects[path] = {"metadata": {"name": job().name, "uid": "theirs"}, "spec": {}, "status": {}}
    return path


def end(cluster: RecordedApi, path: str, monkeypatch: pytest.MonkeyPatch, **condition: str) -> None:
    """The Job ends after the first look at it."""

    def judge(*_: object) -> None:
        cluster.objects[path]["status"] = {"conditions": [{"status": "True", **condition}]}

    monkeypatch.setattr(JobRun, "_judge", judge)


def pod(cluster: RecordedApi, **status: Any) -> str:
    path = namespaced("v1", "builds", "pods", "one")
    labels = {"batch.kubernetes.io/job-name": job().name}
    annotations = {"batch.kubernetes.io/job-completion-index": "0"}
    cluster.objects[path] = {
        "metadata": {"name": "one", "uid": "p", "labels": labels, "annotations": annotations},
        "status": status,
    }
    return path


def ended(name: str, code: int, message: str = "") -> JSON:
    return {"name": name, "state": {"terminated": {"exitCode": code, "message": message}}}


def test_a_server_that_fails_is_told_in_its_own_words(
    api: KubeApi, cluster: RecordedApi, under_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(cluster, under_way, monkeypatch, type="Failed", reason="PodFailurePolicy", message="rule 3")
    said = "INFO loading\nerror: the server ended with exit code 1 before it was ready"
    waiting = {"name": "pack", "state": {"waiting": {"reason": "PodInitializing"}}}
    pod(cluster, phase="Failed", initContainerStatuses=[ended("server", 1, said)], containerStatuses=[waiting])

    with pytest.raises(NotHeldError) as error:
        JobRun(api, job(), Reporter()).run()
    assert "the server ended with exit code 1 before it was ready" in str(error.value)
    assert "see to it that qwen starts where it is served" in str(error.value)


def test_both_containers_are_listened_to(
    api: KubeApi, cluster: RecordedApi, under_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pod(
        cluster,
        phase="Succeeded",
        initContainerStatuses=[ended("server", 0)],
        containerStatuses=[
            ended("pack", 0, json.dumps({"share": 1, "layers": 1, "size_bytes": 7, "uploaded_bytes": 7}))
        ],
    )
    end(cluster, under_way, monkeypatch, type="Complete")

    JobRun(api, job(), Reporter()).run()
    asked = [one for method, one, _ in cluster.requests if method == "GET" and one.startswith(f"{path}/log")]
    assert [name for name in ("server", "pack") if any(f"container={name}" in one for one in asked)] == [
        "server",
        "pack",
    ]


def test_the_image_that_the_pod_has_packed_is_the_answer(
    cluster: RecordedApi, under_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MODELIMAGE_USERNAME", "MODELIMAGE_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    image = {"digest": DIGEST, "size_bytes": 7}
    said = {"share": 1, "layers": 1, "size_bytes": 7, "uploaded_bytes": 7, "image": image}
    pod(cluster, phase="Succeeded", containerStatuses=[ended("pack", 0, json.dumps(said))])
    end(cluster, under_way, monkeypatch, type="Complete")

    made = make_cache(making(), DESTINATION, PLACE, kubeconfig=cluster.kubeconfig)

    assert made.reference == f"{DESTINATION}@{DIGEST}"
    assert made.key == making().key
    assert under_way not in cluster.objects


@pytest.mark.parametrize(
    ("destination", "place", "problem"),
    [
        ("oci:folder", PLACE, "a pod's disk is gone after it"),
        (f"registry.example/c@{DIGEST}", PLACE, "a destination has no digest yet"),
        (DESTINATION, replace(PLACE, timeout_seconds=5), "--timeout 5"),
    ],
)
def test_what_no_pod_can_do_is_refused_before_a_cluster_is_asked(
    destination: str, place: PodPlace, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        make_cache(making(), destination, place, kubeconfig="nowhere")


# The server's container, run for real.

_STAND_IN = """\
import http.server, os, sys, time
folder, behaviour = sys.argv[1:]
if behaviour == "dies":
    sys.exit(3)
begun = time.monotonic()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ready = behaviour != "hangs" and time.monotonic() - begun > 1
        self.send_response(200 if ready else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", {port}), Handler)
if behaviour == "compiles":
    os.makedirs(folder + "/torch_compile_cache")
    open(folder + "/torch_compile_cache/model", "w").write("compiled")
server.serve_forever()
"""


def run_server(tmp_path: Path, port: int, behaviour: str, patience: int = 20) -> subprocess.CompletedProcess[str]:
    folder = tmp_path / "vllm"
    stand_in = tmp_path / "server.py"
    stand_in.write_text(_STAND_IN.replace("{port}", str(port)))
    words = [str(port), str(patience), str(folder), sys.executable, str(stand_in), str(folder), behaviour]
    return subprocess.run(
        [sys.executable, "-c", cache_job._UNTIL_READY, *words], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_server_that_has_compiled_is_stopped_once_it_is_ready(tmp_path: Path, port: int) -> None:
    begun = time.monotonic()
    done = run_server(tmp_path, port, "compiles")

    assert done.returncode == 0
    assert "1 files, 8 bytes" in done.stdout
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("behaviour", "patience", "told"),
    [
        ("dies", 20, "error: the server ended with exit code 3 before it was ready"),
        ("hangs", 2, "error: the server was not ready after 2 s"),
        ("idles", 20, "has left nothing in"),
    ],
)
def test_a_server_that_leaves_no_cache_fails_with_the_reason(
    tmp_path: Path, port: int, behaviour: str, patience: int, told: str
) -> None:
    done = run_server(tmp_path, port, behaviour, patience)

    assert done.returncode == 1
    assert told in done.stderr
