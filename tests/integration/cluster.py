"""A real Kubernetes API server for tests, shared by all test processes of the machine.

Use it in a session fixture; any number of fixtures and pytest-xdist workers may hold it at the same time:

    @pytest.fixture(scope="session")
    def kubeconfig() -> Iterator[Path]:
        with cluster.api_server() as path:
            yield path

Give modules that use it ``pytest.mark.xdist_group("cluster")``, so that one worker starts and stops it once.

- ``api_server(node=False)`` yields the path of an admin's kubeconfig, with the CRDs of KServe v0.20, KubeAI and the
  Gateway API applied and established. ``node=True`` also gives a scheduler, one node (kubelet and containerd, as
  root) and a registry on ``REGISTRY``. Where a part is missing the test is skipped, and the reason names the part.
- ``client(kubeconfig)`` is an httpx client that speaks to the API server as that admin.
- ``namespace(kubeconfig, prefix)`` makes a namespace of its own for a test and deletes it afterwards.
- ``controllers.kserve`` (beside this module) plays KServe's controller: pods come and go with an InferenceService.
- ``webhook.pod_webhook`` (beside this module) plays KServe's Pod webhook in one namespace; ``kubelet.front`` makes
  ``exec``, logs and port-forwarding work, which the cluster's own API server cannot pass on to its kubelet.

The cluster's ports are fixed, so there is one on a machine. A cluster that was up before is used and left up; one
that a test started is stopped by whichever process uses it last. Its state is kept (``down`` without ``--wipe``), so
a test must use names of its own. Users are counted by shared locks on a file, which a killed process releases too.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
import yaml

SHARED = Path(__file__).parents[2].parent / "shared"
REGISTRY = "127.0.0.1:15000"
CRD_FOLDERS = ("kserve-v0.20.0", "kubeai", "gateway-api-v1.6.1")
# The largest CRD, that of LLMInferenceService, is of no use to this project and would double the time.
SKIPPED_CRDS = {"serving.kserve.io_llminferenceservices.yaml"}

_LOCKS = Path(tempfile.gettempdir())
_LOCK_SECONDS = 120


@contextlib.contextmanager
def api_server(*, node: bool = False) -> Iterator[Path]:
    """Yield the kubeconfig of a running API server, started if need be; skip the test where that cannot be."""
    _skip_without_parts(node)
    kubeconfig = _home() / "run" / "kubeconfig"
    with _users() as users:
        try:
            with _start_lock() as locked:
                fcntl.flock(users, fcntl.LOCK_SH)
                _start(kubeconfig, node=node, locked=locked)
                _apply_crds(kubeconfig)
            yield kubeconfig
        finally:
            with _start_lock() as locked:
                fcntl.flock(users, fcntl.LOCK_UN)
                if locked and _started_here().exists() and _is_last(users):
                    subprocess.run([SHARED / "cluster" / "down"], check=True, timeout=120)
                    _started_here().unlink()


def client(kubeconfig: Path, *, connections: int = 100) -> httpx.Client:
    """Return a client for the API server, with the certificate of the kubeconfig's user.

    `connections`: how many requests it may have under way at once; as many are kept open.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cafile=server["certificate-authority"])
    context.load_cert_chain(user["client-certificate"], user["client-key"])
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.Client(base_url=server["server"], verify=context, timeout=30, trust_env=False, limits=limits)


@contextlib.contextmanager
def namespace(kubeconfig: Path, prefix: str, labels: dict[str, str] | None = None) -> Iterator[str]:
    """Make a namespace with a random suffix and its default ServiceAccount, and delete it at the end."""
    name = f"{prefix}-{secrets.token_hex(4)}"
    with client(kubeconfig) as api:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}}
        api.post("/api/v1/namespaces", json=body).raise_for_status()
        try:
            wait_for(lambda: api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default").is_success)
            yield name
        finally:
            api.delete(f"/api/v1/namespaces/{name}").raise_for_status()


def wait_for(condition: Any, seconds: float = 60) -> None:
    """Call ``condition`` until it is true; fail the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"nothing came of it within {seconds} s: {condition}")
        time.sleep(0.2)


def _home() -> Path:
    return Path(os.environ.get("CLUSTER_HOME", Path.home() / ".cache" / "test-cluster"))


def _started_here() -> Path:
    return _LOCKS / "cluster.started-by-tests"


def _skip_without_parts(node: bool) -> None:
    scripts = SHARED / "cluster"
    if not (scripts / "up").exists() or not (SHARED / "crds").exists():
        pytest.skip(f"no test cluster: {scripts} and {SHARED / 'crds'} are not here")
    binaries = ["kube-apiserver", "kube-controller-manager"]
    tools = ["etcd", "openssl", "curl"]
    if node:
        binaries += ["kube-scheduler", "kubelet", "containerd", "containerd-shim-runc-v2"]
        tools += ["runc", "docker-registry", "iptables"]
    missing = [name for name in binaries if not (_home() / "bin" / name).exists()]
    if missing:
        option = " --node" if node else ""
        pytest.skip(f"the test cluster is not built ({', '.join(missing)}): run {scripts / 'build'}{option}")
    absent = [tool for tool in tools if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if absent:
        pytest.skip(f"the test cluster needs {', '.join(absent)} on PATH")
    if node and os.geteuid() != 0:
        pytest.skip("the test cluster's node runs containers and needs root")


def _start(kubeconfig: Path, *, node: bool, locked: bool) -> None:
    up = _answers(kubeconfig)
    if not locked and not up:
        pytest.skip(f"the test cluster is down, and {_LOCKS / 'cluster.lock'} is held by someone else")
    if not up:
        _started_here().touch()
    if _started_here().exists():
        _run_up(node)
    elif node:
        _skip_without_node(kubeconfig)


def _skip_without_node(kubeconfig: Path) -> None:
    with client(kubeconfig) as api:
        if not api.get("/api/v1/nodes/test-node").is_success:
            pytest.skip("someone else's test cluster is up, and it has no node")


@contextlib.contextmanager
def _users() -> Iterator[IO[str]]:
    with (_LOCKS / "cluster.users").open("a") as file:
        yield file


def _is_last(users: IO[str]) -> bool:
    return _lock(users)


@contextlib.contextmanager
def _start_lock() -> Iterator[bool]:
    """Hold the lock that serializes starts and stops; yield whether it was to be had.

    The lock is shared with people who start the cluster by hand under `flock`, whose daemons then hold it for good.
    """
    deadline = time.monotonic() + _LOCK_SECONDS
    with (_LOCKS / "cluster.lock").open("a") as file:
        while not (locked := _lock(file)) and time.monotonic() < deadline:
            if _answers(_home() / "run" / "kubeconfig") and not _started_here().exists():
                break
            time.sleep(0.5)
        yield locked


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _run_up(node: bool) -> None:
    command: list[str | Path] = [SHARED / "cluster" / "up", *(["--node"] if node else [])]
    up = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    if up.returncode:
        _started_here().unlink(missing_ok=True)
        subprocess.run([SHARED / "cluster" / "down"], check=False, timeout=120)
        pytest.fail(f"the test cluster did not start: {up.stderr[-2000:]}")


def _answers(kubeconfig: Path) -> bool:
    if not kubeconfig.exists():
        return False
    try:
        with client(kubeconfig) as api:
            return api.get("/readyz").is_success
    except (httpx.HTTPError, OSError, yaml.YAMLError, TypeError, KeyError):
        return False  # `up`, started by another test run's process, may be writing the file this very moment


def _apply_crds(kubeconfig: Path) -> None:
    files = [file for folder in CRD_FOLDERS for file in sorted((SHARED / "crds" / folder).glob("*.yaml"))]
    with client(kubeconfig) as api:
        for file in files:
            if file.name not in SKIPPED_CRDS:
                _apply_crd(api, file)


def _apply_crd(api: httpx.Client, file: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    group, _, plural = file.stem.partition("_")
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}"
    present = api.get(path)
    # Parsing and applying megabytes of schema takes seconds; each of many test processes would pay them.
    if present.is_success and present.json()["metadata"].get("labels", {}).get("tests/content") == digest:
        return
    crd = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - safe both
    crd.pop("status", None)
    crd["metadata"].setdefault("labels", {})["tests/content"] = digest
    # Server-side: the annotation that client-side apply writes would be larger than the API allows.
    api.patch(
        path,
        params={"fieldManager": "tests", "force": "true"},
        headers={"Content-Type": "application/apply-patch+yaml"},
        content=json.dumps(crd),
    ).raise_for_status()

    def established() -> bool:
        conditions = api.get(path).json().get("status", {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    wait_for(established)
