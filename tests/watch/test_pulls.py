"""What is said of a pull is told apart by whose image it is and by what the registry means, and nothing else is."""

from typing import Any

import pytest

from watch.complaints import Case, Topic, complaints
from watch.diagnosis import diagnose
from watch.table import is_lasting, pulls

MODEL = "us-central1-docker.pkg.dev/demo/models/qwen@sha256:" + "a" * 64
SERVER = "docker.io/vllm/vllm-openai:v0.23.0"
CODES = {row.code for row in pulls.ROWS}
OF_OTHERS = {"modelcar-out-of-memory", "no-shell", "no-models-folder", "wrong-platform", "server-wrong-platform"}
"""Causes of this table that a container's own words may show."""


def pod(server: str = SERVER, **limits: str) -> dict[str, Any]:
    containers = [
        {"name": "kserve-container", "image": server, "resources": {"limits": limits}},
        {"name": "modelcar", "image": MODEL},
    ]
    init = [{"name": "modelcar-init", "image": MODEL}]
    metadata = {"name": "qwen", "namespace": "models", "creationTimestamp": "2026-11-22T03:28:05Z"}
    return {"metadata": metadata, "spec": {"nodeName": "n", "containers": containers, "initContainers": init}}


def failed(message: str, container: str = "kserve-container", last: str = "2026-11-22T03:28:07Z") -> dict[str, Any]:
    involved = {"kind": "Pod", "name": "qwen", "fieldPath": f"spec.containers{{{container}}}"}
    return {
        "type": "Warning",
        "reason": "Failed",
        "message": message,
        "lastTimestamp": last,
        "involvedObject": involved,
    }


def crashed(message: str) -> dict[str, Any]:
    ended = {"terminated": {"reason": "Error", "exitCode": 1, "message": message}}
    status = {"name": "kserve-container", "restartCount": 3, "ready": False, "lastState": ended, "state": {}}
    return {**pod(), "status": {"phase": "Running", "containerStatuses": [status]}}


def codes(*events: dict[str, Any], of: dict[str, Any] | None = None) -> list[str]:
    return [cause.code for cause in diagnose(Case(of or pod(), events))]


def pull(image: str, said: str) -> str:
    return f'Failed to pull image "{image}": rpc error: code = Unknown desc = {said}'


@pytest.mark.parametrize(
    "said",
    [
        "huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: https://huggingface.co/api",
        "ConnectionError: ('Connection aborted.', ConnectionResetError(104, 'connection reset by peer'))",
        "OSError: 401 Client Error: Unauthorized. pull access denied",
        "dial tcp: lookup kafka.example.com on 10.0.0.10:53: no such host",
        "x509: certificate signed by unknown authority",
        "context deadline exceeded; unexpected EOF; 503 Service Unavailable; blob unknown; manifest unknown",
    ],
)
def test_what_a_server_says_of_its_own_requests_is_no_matter_of_a_pull(said: str) -> None:
    assert not set(codes(of=crashed(said))) & (CODES - OF_OTHERS)


@pytest.mark.parametrize(
    "said",
    [
        "OCI runtime create failed: runc create failed: unable to start container process: error during container "
        'init: error mounting "/var/lib/kubelet/pods/1/volumes" to rootfs at "/data": mkdirat /data: read-only file '
        "system",
        'OCI runtime create failed: runc create failed: exec: "vllm": executable file not found in $PATH: unknown',
        'secret "hugging-face" not found',
        "failed to reserve container name: name is reserved for 1f2e",
    ],
)
def test_what_keeps_a_container_from_starting_is_no_matter_of_a_pull(said: str) -> None:
    event = failed(f"Error: failed to create containerd task: failed to create shim task: {said}")

    assert not set(codes(event)) & CODES


def test_a_full_disk_is_not_told_as_a_broken_store() -> None:
    said = "failed to prepare extraction snapshot: mkdir /var/lib/containerd/tmp: no space left on device"

    assert codes(failed(pull(SERVER, said))) == ["disk-too-small"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (f"{SERVER}: not found", "server-image-not-found"),
        ("docker.io/vllm/vllm-openai:429: not found", "server-image-not-found"),
        (
            f'failed commit on ref "layer-sha256:{"4" * 64}": failed size validation: 502 != 503: failed',
            "layer-corrupt",
        ),
        (f"unexpected status code https://x/v2/y/blobs/sha256:{'403' * 21}4: 502 Bad Gateway", "registry-down"),
        ("failed to copy: read tcp 10.0.0.1:401->10.0.0.2:403: read: connection reset by peer", "pull-interrupted"),
        (
            f'failed to resolve "{SERVER}": unexpected status from HEAD request to https://x/v2/500/429: 403 Forbidden',
            "pull-forbidden",
        ),
    ],
)
def test_a_number_in_a_name_a_digest_or_a_port_is_no_status(said: str, code: str) -> None:
    assert codes(failed(pull(SERVER, said))) == [code]


def test_two_images_that_fail_for_different_reasons_have_both_told() -> None:
    of_model = failed(pull(MODEL, "403 Forbidden: Request is prohibited by organization's policy."), "modelcar-init")
    of_server = failed(pull(SERVER, f'failed to resolve reference "{SERVER}": pulling failed: 403 Forbidden'))

    assert codes(of_model, of_server) == ["vpc-service-controls", "pull-forbidden"]


def test_the_special_cause_of_a_refusal_hides_the_general_one_in_another_word_about_the_same_image() -> None:
    general = failed(pull(MODEL, "unexpected status from HEAD request: 403 Forbidden"), "modelcar-init")
    special = failed(pull(MODEL, "403 Forbidden: Request had insufficient authentication scopes"), "modelcar-init")

    assert codes(general, special) == ["node-scopes"]


def test_a_missing_secret_is_told_beside_a_refusal_only() -> None:
    missing = failed("Unable to retrieve some image pull secrets (hub); attempting to pull the image may not succeed.")
    refused = failed(pull(SERVER, "pull access denied, repository does not exist or may require authorization"))

    assert codes(missing, refused) == ["pull-unauthorized", "pull-secret-missing"]
    assert "pull-secret-missing" not in codes(missing, of=crashed("ValueError: nothing known"))


def test_a_reader_of_another_project_is_told_both_projects_and_the_command() -> None:
    event = failed(pull(MODEL, "unexpected status from HEAD request: 403 Forbidden"), "modelcar-init")
    (cause,) = diagnose(Case(pod(), [event], account="nodes@cluster-project.iam.gserviceaccount.com"))

    assert "another project than the account's (cluster-project)" in cause.remedy
    assert (
        "`gcloud artifacts repositories add-iam-policy-binding models --location us-central1 --project demo --member "
        "serviceAccount:nodes@cluster-project.iam.gserviceaccount.com --role roles/artifactregistry.reader`"
        in cause.remedy
    )


def test_a_reader_of_the_same_project_is_told_of_no_other() -> None:
    event = failed(pull(MODEL, "unexpected status from HEAD request: 403 Forbidden"), "modelcar-init")
    (cause,) = diagnose(Case(pod(), [event], account="nodes@demo.iam.gserviceaccount.com"))

    assert "another project" not in cause.remedy


def test_a_server_on_cpu_is_named_by_the_setting_of_its_own() -> None:
    event = failed(pull(SERVER, f"{SERVER}: not found"))
    (cause,) = diagnose(Case(pod(cpu="4"), [event]))

    assert "platforms.kserve.server.cpuImage" in cause.remedy


@pytest.mark.parametrize(
    "spelt", ["vllm/vllm-openai:v0.23.0", "docker.io/vllm/vllm-openai", "index.docker.io/vllm/vllm-openai:1"]
)
def test_an_image_of_docker_hub_is_known_in_each_spelling(spelt: str) -> None:
    assert codes(failed(pull(SERVER, f"{SERVER}: not found"), "other"), of=pod(spelt)) == ["server-image-not-found"]


def test_an_official_image_of_docker_hub_is_known_by_its_short_name() -> None:
    said = pull("docker.io/library/vllm:1", "docker.io/library/vllm:1: not found")

    assert codes(failed(said, "other"), of=pod("vllm:1")) == ["server-image-not-found"]


def test_words_about_an_earlier_pod_of_the_same_name_are_left_out() -> None:
    earlier = failed(pull(SERVER, "http: server gave HTTP response to HTTPS client"), last="2026-11-22T03:27:00Z")
    now = failed(pull(SERVER, f"{SERVER}: not found"))

    assert codes(earlier, now) == ["server-image-not-found"]


def test_an_image_that_is_none_of_the_pods_is_not_told_as_the_models() -> None:
    event = failed(pull("registry.k8s.io/pause:3.8", "registry.k8s.io/pause:3.8: not found"), container="")

    assert codes(event) == ["image-not-found"]


@pytest.mark.parametrize(
    ("said", "lasts"),
    [
        ("403 Forbidden", True),
        (f"{MODEL}: not found", True),
        ("failed to prepare extraction snapshot: parent snapshot sha256:1 does not exist: not found", False),
        ("429 Too Many Requests", False),
        ("503 Service Unavailable", False),
        ("unexpected EOF", False),
        ("dial tcp: lookup x.example.com on 10.0.0.10:53: no such host", False),
        ("http: server gave HTTP response to HTTPS client", True),
        ("mismatched image rootfs and manifest layers", True),
    ],
)
def test_a_pull_that_another_try_may_mend_is_given_time(said: str, lasts: bool) -> None:
    (complaint,) = complaints(Case(pod(), [failed(pull(MODEL, said), "modelcar-init")]))

    assert complaint.topic is Topic.PULL
    assert is_lasting(complaint) is lasts
