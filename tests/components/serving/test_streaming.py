"""Delivery stream: a sidecar of the model's pods serves the image, and the server is told of its door and no other."""

import base64
import io
import json
import subprocess
import sys
import zipfile
from functools import cache
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

from components.google import sdk as gcp
from components.serving import admission, streaming
from components.serving.sidecar import Sidecar
from components.serving.unservable import UnservableError
from components.settings.types import amount
from modelimage import bundle
from oci_model_serving.delivery import Delivery
from oci_model_serving.reference import ImageReference
from tests import crds, serving
from tests.mocks import DIGEST, Recording, built, plain

GOOGLE = f"us-central1-docker.pkg.dev/demo/models/qwen@{DIGEST}"
OTHER = serving.IMAGE
SERVICE = "kubernetes:serving.kserve.io/v1beta1:InferenceService"


def run(platform: dict[str, Any] | None = None, keys: dict[str, Any] | None = None, **fields: Any) -> Recording:
    model = {"digest": GOOGLE, "nodePool": "l4", "delivery": "stream", **fields}
    made = serving.gke({"qwen2.5": model}, **{"platforms": {"kserve": platform or {}}, **(keys or {})})
    return recorded(json.dumps(made))


@cache
def recorded(settings: str) -> Recording:
    """The program takes half a second: most tests look at the same run of it."""
    return serving.run(json.loads(settings))


def predictor(recording: Recording) -> dict[str, Any]:
    made: dict[str, Any] = serving.one(recording, "InferenceService")["spec"]["predictor"]
    return made


def sidecar(recording: Recording) -> dict[str, Any]:
    (made,) = predictor(recording)["initContainers"]
    return dict(made)


def told(recording: Recording) -> list[str]:
    return list(predictor(recording)["model"]["args"])


def env(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value") for one in container["env"]}


# What KServe and the cluster get.


def test_the_digest_is_in_the_sidecars_arguments_and_in_no_field_that_kserve_would_act_on() -> None:
    recording = run()
    service, made = serving.one(recording, "InferenceService"), predictor(recording)

    uri = f"oci+stream://{GOOGLE}"
    assert sidecar(recording)["args"][0] == uri == Delivery.STREAM.uri(ImageReference.parse(GOOGLE))
    assert service["metadata"]["annotations"]["oci-model-serving/stream"] == uri
    assert not {"storageUri", "storage"} & made["model"].keys()
    assert not {"storageUris", "containers"} & made.keys()
    assert plain(recording.outputs)["models"]["qwen2.5"]["storage_uri"] == uri


def test_the_sidecar_is_a_native_one_that_is_known_to_be_up_before_the_server_starts() -> None:
    made = sidecar(run())

    assert made["restartPolicy"] == "Always"
    assert made["startupProbe"]["httpGet"] == {"path": "/started", "port": 9701}
    assert made["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 9701}
    assert made["terminationMessagePolicy"] == "FallbackToLogsOnError"


@pytest.mark.parametrize("version", ["v0.19.0", "v0.20.0"])
def test_kserves_own_schema_knows_every_field(version: str) -> None:
    recording = run({"version": version}, keys={"pullSecrets": serving.PULL_SECRETS}, digest=OTHER, warm="prepull")

    assert crds.problems(serving.one(recording, "InferenceService"), f"kserve-{version}") == []


def test_no_container_has_a_variable_that_kserve_refuses() -> None:
    # KServe v0.18 and later, pkg/validation/env_policy.go, of init containers as well.
    recording = run()

    assert "PYTHONPATH" not in {**env(sidecar(recording)), **env(predictor(recording)["model"])}


def test_the_sidecar_has_no_rights_and_nothing_that_it_can_write() -> None:
    recording = run()
    security = sidecar(recording)["securityContext"]

    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["runAsUser"] == 1010
    assert all(mount["readOnly"] for mount in sidecar(recording)["volumeMounts"])
    namespace = serving.one(recording, "Namespace", "models")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_its_code_is_an_immutable_config_map_whose_name_is_of_its_content() -> None:
    recording = run()
    (code,) = serving.of_kind(recording, "ConfigMap")
    volumes = {one["name"]: one for one in predictor(recording)["volumes"]}

    assert code["immutable"] is True
    assert volumes["stream-code"]["configMap"]["name"] == code["metadata"]["name"]
    name, content = streaming.code()
    assert code["metadata"]["name"] == f"qwen2-5-{name}"
    assert code["binaryData"] == {"sidecar.zip": content}
    # `kubectl apply` keeps the object in an annotation, and all annotations together have 256 KiB.
    assert len(json.dumps(code)) < 230_000


def test_the_name_is_of_the_code_and_not_of_how_it_was_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    before, _ = streaming.code.__wrapped__()
    monkeypatch.setattr(bundle, "stream_archive", lambda: b"other bytes")
    assert streaming.code.__wrapped__()[0] == before

    files = bundle.stream_code()
    monkeypatch.setattr(bundle, "stream_code", lambda: {**files, "modelimage/stream/more.py": b""})
    assert streaming.code.__wrapped__()[0] != before


def test_what_python_is_started_with_there_runs(tmp_path: Any) -> None:
    archive = tmp_path / streaming.ARCHIVE
    archive.write_bytes(base64.b64decode(streaming.code()[1]))
    made = sidecar(run())
    program = [word.replace("/oms/code", str(tmp_path)) for word in made["command"]]

    done = subprocess.run(
        [sys.executable, *program[1:], "oci://no", *made["args"][1:]], capture_output=True, text=True, check=False
    )

    # Its options are known to it, and the image is what it refuses.
    assert done.returncode == 2
    assert "oci+stream://" in done.stderr
    assert "unrecognized" not in done.stderr
    assert "__main__.py" in zipfile.ZipFile(io.BytesIO(archive.read_bytes())).namelist()


# The server.


def test_the_server_loads_from_the_door_on_loopback_and_asks_nobody_else() -> None:
    made = predictor(run())["model"]

    assert "--model=s3://models/qwen2-5" in made["args"]
    assert "--load-format=runai_streamer" in made["args"]
    assert sidecar(run())["args"][1:3] == ["--prefix", "models/qwen2-5"]
    variables = env(made)
    door = f"http://127.0.0.1:{sidecar(run())['args'][4]}"
    assert variables["AWS_ENDPOINT_URL"] == variables["RUNAI_STREAMER_S3_ENDPOINT"] == door
    assert variables["HF_HUB_OFFLINE"] == variables["TRANSFORMERS_OFFLINE"] == "1"
    assert variables["AWS_EC2_METADATA_DISABLED"] == "true"


def test_the_server_waits_for_no_mount_and_says_at_once_that_its_image_lacks_the_streamer() -> None:
    shell = predictor(run())["model"]["command"][2]

    assert "/mnt/models" not in shell
    check = shell.partition('python3 -c "')[2].partition('" ||')[0]
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("stream: the image of the server has no runai_model_streamer")


def test_the_settings_own_arguments_come_after_those_of_the_delivery() -> None:
    args = told(run(args=["--load-format=runai_streamer_sharded"]))

    assert args.index("--load-format=runai_streamer") < args.index("--load-format=runai_streamer_sharded")


def loaded(recording: Recording) -> dict[str, Any]:
    (extra,) = [word for word in told(recording) if word.startswith("--model-loader-extra-config=")]
    return dict(json.loads(extra.partition("=")[2]))


@pytest.mark.parametrize(
    ("cpu", "memory", "shm", "ranks", "wanted"),
    [
        ("6", "23Gi", "2Gi", 1, (6, 10_000_000_000)),
        ("2", "4Gi", "2Gi", 1, (4, 0)),
        ("200", "1300Gi", "16Gi", 8, (32, 10_000_000_000)),
        ("90", "90Gi", "16Gi", 8, (32, 0)),  # 8 ranks with 10 GB each do not fit
    ],
)
def test_reads_at_once_are_as_many_as_cores_and_buffers_are_what_the_pod_has_memory_for(
    cpu: str, memory: str, shm: str, ranks: int, wanted: tuple[int, int]
) -> None:
    made = streaming.loading(cpu, memory, shm, ranks=ranks)

    assert tuple(value for _, value in made.values()) == wanted


def test_what_a_variable_says_of_the_streamer_is_not_told_by_an_argument_too() -> None:
    assert loaded(run(env={"RUNAI_STREAMER_CONCURRENCY": "9"})).keys() == {"memory_limit"}


@pytest.mark.parametrize(
    "said",
    ['--model-loader-extra-config={"distributed":true}', "--model-loader-extra-config.distributed=true"],
)
def test_what_the_loader_is_told_besides_leaves_it_its_reads_and_its_bound_of_memory(said: str) -> None:
    made = run(args=[said])
    variables = env(predictor(made)["model"])

    # The last of two is all that vLLM takes.
    assert [word for word in told(made) if word.startswith("--model-loader-extra-config")] == [said]
    assert variables["RUNAI_STREAMER_MEMORY_LIMIT"] == "10000000000"
    assert int(variables["RUNAI_STREAMER_CONCURRENCY"]) == loaded(run())["concurrency"]


@pytest.mark.parametrize(
    ("said", "readers"),
    [
        ([], 4),
        (['--model-loader-extra-config={"distributed":true}'], 1),
        (["--model-loader-extra-config.distributed=true"], 1),
        (['--model-loader-extra-config={"distributed":false}'], 4),
        (['--model-loader-extra-config={"distributed":"yes"}'], 4),  # vLLM passes over what is no boolean
        (['--model-loader-extra-config={"note":"distributed"}'], 4),
    ],
)
def test_ranks_read_the_model_each_unless_they_are_told_to_share_it(said: list[str], readers: int) -> None:
    pool = {"accelerator": "nvidia-l4", "count": 4, "zones": ["us-central1-a"]}
    made = sidecar(run(keys={"nodePools": {"l4": pool}}, args=said))["args"]

    assert (made[made.index("--readers") + 1] if "--readers" in made else "1") == str(readers)


def test_a_plain_profile_and_a_model_on_cpu_are_told_how_to_load_as_well() -> None:
    server = {"profile": "plain", "features": ["runai-streamer"]}
    for fields in ({"nodePool": "l4"}, {"nodePool": None}):
        assert loaded(run({"server": server}, **fields)) != {}


def test_a_gguf_that_only_the_build_finds_is_not_served() -> None:
    model = {"digest": GOOGLE, "nodePool": "l4", "delivery": "stream"}

    with pytest.raises(UnservableError, match="GGUF"):
        serving.run(serving.gke({"q": model}), answer=built(traits={"qwen": {"weights_file": "q.gguf"}}))


# Its room.


def test_the_server_has_what_the_sidecar_leaves_of_a_nodes_share() -> None:
    alone, beside = run(delivery="modelcar"), run()
    before, after = (predictor(one)["model"]["resources"]["requests"] for one in (alone, beside))
    own = sidecar(beside)["resources"]["requests"]

    assert amount(after["cpu"]) + amount(own["cpu"]) <= amount(before["cpu"]) + 1
    assert amount(after["memory"]) + amount(own["memory"]) <= amount(before["memory"]) + (1 << 30)
    assert amount(after["memory"]) < amount(before["memory"])


@pytest.mark.parametrize(
    ("accelerator", "count", "processes"), [("nvidia-l4", 1, 4), ("nvidia-h100-80gb", 8, 16), ("nvidia-tesla-t4", 1, 1)]
)
def test_a_sidecar_has_processes_for_its_nodes_network_as_far_as_cores_allow(
    accelerator: str, count: int, processes: int
) -> None:
    machine = {"nvidia-tesla-t4": {"machineType": "n1-standard-2"}}.get(accelerator, {})
    pool = {"accelerator": accelerator, "count": count, "zones": ["us-central1-a"], **machine}
    made = sidecar(run(keys={"nodePools": {"l4": pool}}))

    assert made["args"][made["args"].index("--processes") + 1] == str(processes)
    assert made["resources"]["limits"]["cpu"] == str(processes)


def test_what_several_gpus_processes_read_alike_is_kept_until_each_has_had_it() -> None:
    pool = {"accelerator": "nvidia-l4", "count": 4, "zones": ["us-central1-a"]}
    made = sidecar(run(keys={"nodePools": {"l4": pool}}))
    words = dict(zip(made["args"][1::2], made["args"][2::2], strict=True))

    assert words["--readers"] == "4"
    kept = int(words["--processes"]) * (int(words["--memory-mib"]) - 32)
    assert 1000 <= kept <= 1024
    assert amount(made["resources"]["limits"]["memory"]) >= int(words["--processes"]) * int(words["--memory-mib"]) << 20
    assert "--readers" not in sidecar(run())["args"]


def test_memory_that_the_settings_give_is_divided_among_the_processes() -> None:
    assert Sidecar(4, "1Gi", readers=8).process_mib == 208
    assert Sidecar(4, "256Mi", readers=8).process_mib == 64
    assert Sidecar(1, "", readers=2).process_mib == 1024  # the most that its option takes


def test_the_settings_decide_on_image_processes_and_memory() -> None:
    given = {"image": "registry.example/python@sha256:" + "c" * 64, "processes": 2, "memory": "1Gi"}
    recording = run({"stream": given})
    made = sidecar(recording)

    assert made["image"] == given["image"]
    assert made["args"][-1] == "2"
    assert made["resources"]["limits"]["memory"] == "1Gi"
    patches = [one for one in recording.resources if one.type.endswith("NamespacePatch")]
    assert given["image"] in {
        value for one in patches for value in plain(one.inputs)["metadata"]["annotations"].values()
    }


def test_no_disk_has_to_hold_a_streamed_image() -> None:
    model, large = {"digest": GOOGLE, "nodePool": "l4"}, built(size_bytes=150_000_000_000)
    with pytest.raises(admission.DiskError):
        serving.run(serving.gke({"q": model}), answer=large)

    recording = serving.run(serving.gke({"q": {**model, "delivery": "stream"}}), answer=large)

    assert serving.one(recording, "InferenceService")


def test_prepulling_brings_the_servers_image_and_nothing_of_the_weights() -> None:
    recording = run(warm="prepull")
    (made,) = serving.of_kind(recording, "DaemonSet")
    (container,) = made["spec"]["template"]["spec"]["containers"]

    assert container["image"].startswith("docker.io/vllm/")
    assert made["spec"]["template"]["spec"]["volumes"] == []


def test_an_adapter_stays_a_volume_that_is_prepulled() -> None:
    adapter = GOOGLE.replace("qwen", "lora")
    recording = run(warm="prepull", adapters={"sql": {"digest": adapter}})

    volumes = {one["name"]: one for one in predictor(recording)["volumes"]}
    assert volumes["adapter-sql"]["image"]["reference"] == adapter
    assert {one["metadata"]["name"] for one in serving.of_kind(recording, "DaemonSet")} == {
        "qwen2-5-prepull-s",
        "qwen2-5-prepull",
    }


# Who reads the registry.


def bindings(recording: Recording) -> dict[str, dict[str, Any]]:
    type_ = "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember"
    return {one.name: plain(one.inputs) for one in recording.resources if one.type == type_}


def test_the_pods_own_account_reads_the_stacks_own_registry_and_no_other_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(number="123")
    monkeypatch.setattr(gcp.organizations, "get_project_output", lambda **_: pulumi.Output.from_input(found))
    other = {"digest": GOOGLE, "nodePool": "l4"}
    model = {"digest": GOOGLE, "nodePool": "l4", "delivery": "stream"}
    recording = serving.run(serving.gke({"qwen2.5": model, "mounted": other}), preview=False)

    members = {name: one["member"] for name, one in bindings(recording).items() if "pods" in name}
    assert members == {
        "models-pods-qwen2.5": "principal://iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/"
        "demo.svc.id.goog/subject/ns/models/sa/qwen2-5"
    }
    assert bindings(recording)["models-pods-qwen2.5"]["role"] == "roles/artifactregistry.reader"
    account = serving.one(recording, "ServiceAccount", "qwen2-5")
    assert predictor(run())["serviceAccountName"] == account["metadata"]["name"]
    # The metadata server knows a pod by its address: no token is mounted.
    assert account["automountServiceAccountToken"] is False


def test_a_registry_of_others_gets_no_binding() -> None:
    image = f"europe-docker.pkg.dev/other/models/qwen@{DIGEST}"

    assert not [name for name in bindings(run(digest=image)) if "pods" in name]


def test_another_registry_is_read_with_its_pull_secret_as_a_file_of_the_sidecars_alone() -> None:
    keys = {"pullSecrets": {**serving.PULL_SECRETS, "b": {**serving.PULL_SECRETS["private"], "server": "b.example"}}}
    recording = run(keys=keys, digest=OTHER)
    made, own = predictor(recording), sidecar(recording)
    volumes = {one["name"]: one for one in made["volumes"]}

    assert volumes["stream-logins"]["secret"] == {
        "secretName": "private",
        "defaultMode": 0o440,
        "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
    }
    assert made["securityContext"] == {"fsGroup": 1010}
    assert env(own)["DOCKER_CONFIG"] == "/oms/logins"
    assert not [one for one in made["model"].get("volumeMounts", ()) if one["name"] == "stream-logins"]
    assert "hunter2" not in json.dumps(made)


def test_where_several_credentials_may_be_for_a_registry_the_one_secret_of_all_is_made_and_mounted() -> None:
    one = serving.PULL_SECRETS["private"]
    recording = run(keys={"pullSecrets": {"a": one, "b": {**one, "server": "*.example"}}}, digest=OTHER)

    volumes = {one["name"]: one for one in predictor(recording)["volumes"]}
    assert volumes["stream-logins"]["secret"]["secretName"] == "oci-pull"
    assert serving.one(recording, "Secret", "oci-pull")


# How far it gets.


def egress(recording: Recording) -> list[dict[str, Any]]:
    policy = serving.one(recording, "NetworkPolicy", "qwen2-5")
    return list(policy["spec"]["egress"][1:])


def ports(rule: dict[str, Any]) -> list[int]:
    return [one["port"] for one in rule["ports"]]


def test_by_default_the_registrys_port_is_open_and_googles_tokens_are_within_reach() -> None:
    registry, *metadata = egress(run())

    assert registry == {"ports": [{"port": 443, "protocol": "TCP"}]}
    assert [ports(rule) for rule in metadata] == [[80], [988]]
    assert metadata[0]["to"] == [{"ipBlock": {"cidr": "169.254.169.254/32"}}]


@pytest.mark.parametrize(
    ("stream", "ranges"),
    [
        ({"reach": "private"}, ["199.36.153.8/30"]),
        ({"reach": "restricted"}, ["199.36.153.4/30"]),
        ({"cidrs": ["192.0.2.0/24", "10.9.0.0/16"]}, ["192.0.2.0/24", "10.9.0.0/16"]),
    ],
)
def test_the_settings_say_where_the_registry_is(stream: dict[str, Any], ranges: list[str]) -> None:
    registry, *_ = egress(run({"stream": stream}))

    assert [one["ipBlock"]["cidr"] for one in registry["to"]] == ranges


def test_a_registry_with_a_login_is_reached_on_its_own_port_and_nobody_asks_google() -> None:
    image = f"registry.example:5000/models/qwen@{DIGEST}"
    secrets = {"private": {**serving.PULL_SECRETS["private"], "server": "registry.example:5000"}}

    assert [ports(rule) for rule in egress(run(keys={"pullSecrets": secrets}, digest=image))] == [[5000]]


def test_gkes_policy_names_the_host_and_the_cluster_is_made_to_know_such_policies() -> None:
    recording = run({"stream": {"reach": "fqdn", "hosts": ["storage.googleapis.com"]}})

    spec = serving.one(recording, "FQDNNetworkPolicy")["spec"]
    (rule,) = spec["egress"]
    assert [one["name"] for one in rule["matches"]] == ["us-central1-docker.pkg.dev", "storage.googleapis.com"]
    assert spec["podSelector"] == {"matchLabels": {"serving.kserve.io/inferenceservice": "qwen2-5"}}
    assert 443 not in {port for one in egress(recording) for port in ports(one)}
    assert plain(recording.only("gcp:container/cluster:Cluster").inputs)["enableFqdnNetworkPolicy"] is True
    assert "enableFqdnNetworkPolicy" not in plain(run().only("gcp:container/cluster:Cluster").inputs)


def test_how_the_sidecar_is_may_be_asked_by_the_control_plane_and_by_what_collects_metrics() -> None:
    policy = serving.one(run(), "NetworkPolicy", "qwen2-5-ingress")
    served, health = policy["spec"]["ingress"]

    assert ports(served) == [8080]
    assert ports(health) == [9701]
    assert {"ipBlock": {"cidr": "35.191.0.0/16"}} not in health["from"]
    assert 9700 not in {port for rule in policy["spec"]["ingress"] for port in ports(rule)}
