"""Whether the server really takes its weights from the image: nothing is fetched from a hub."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from components.serving.vllm import OFFLINE_ENV
from oci_model_serving.outputs import ModelOutput
from smoke.checks import Check, NotRunError, run
from smoke.presence import pods_to_check
from smoke.stack import ServedModel
from watch.causes import NotHeldError, short
from watch.kube import JSON, KubeApi, namespaced

STEP = "egress"
HUB = "huggingface.co"
_LOG_LINES = 2000
_CONNECT_SECONDS = 5
_HTTPS = 443

# What huggingface_hub (2.x), hf_transfer, hf-xet and vLLM write when they fetch.
_DOWNLOAD = re.compile(
    r"huggingface\.co|hf\.co/|cdn-lfs|Fetching \d+ files|Downloading (?:shards|\S*safetensors|model|weights)"
    r"|\bresolve/main/|hf_transfer|xet download",
    re.IGNORECASE,
)
# Offline mode mentions the hub in its own complaints, which are proof that nothing was fetched.
_OFFLINE = re.compile(r"offline mode|OfflineModeIsEnabled|HF_HUB_OFFLINE", re.IGNORECASE)

# vLLM's image has python3; busybox has nc. Exit 42 says that the host was reached, 43 that it was not.
_CONNECT = f"""
if command -v python3 >/dev/null; then
  python3 -c 'import socket,sys
try: socket.create_connection((sys.argv[1], {_HTTPS}), {_CONNECT_SECONDS}).close()
except OSError as error: print(error); sys.exit(43)
sys.exit(42)' "$0"
elif command -v nc >/dev/null; then
  nc -w {_CONNECT_SECONDS} "$0" {_HTTPS} </dev/null && exit 42; exit 43
else
  exit 44
fi
"""
_REACHED, _NOT_REACHED = 42, 43


def egress(api: KubeApi, models: list[ServedModel], *, connect: bool, hub: str = HUB) -> Iterator[Check]:
    """Check environment, log and NetworkPolicy of each model's pods; with `connect` also try the hub from inside."""
    for model in models:
        one = partial(run, STEP, model=model.key)
        yield one("offline-env", partial(_check_env, api, model.output))
        yield one("log", partial(_check_log, api, model.output))
        yield one("network-policy", partial(_check_policy, api, model.output))
        yield one("connection", partial(_check_connection, api, model.output, hub, connect=connect))


def _pods(api: KubeApi, model: ModelOutput) -> list[JSON]:
    pods = pods_to_check(api, model)
    if not pods:
        raise NotRunError("the model has no pod: see the step `deployed`")
    return pods


def _check_env(api: KubeApi, model: ModelOutput) -> str:
    pods = _pods(api, model)
    for pod in pods:
        servers = [one for one in pod["spec"]["containers"] if one["name"] == model.serving.platform.container]
        env = {entry["name"]: entry.get("value") for server in servers for entry in server.get("env") or ()}
        missing = [f"{name}={value}" for name, value in OFFLINE_ENV.items() if env.get(name) != value]
        if missing:
            raise NotHeldError(
                f"{pod['metadata']['name']} runs without {', '.join(missing)}",
                "the project's components set it: `pulumi up --refresh` undoes changes by hand",
            )
    return f"{', '.join(f'{name}={value}' for name, value in OFFLINE_ENV.items())} in {len(pods)} pods"


def _check_log(api: KubeApi, model: ModelOutput) -> str:
    read = 0
    for pod in _pods(api, model):
        name = pod["metadata"]["name"]
        path = namespaced("v1", model.namespace, "pods", name) + "/log"
        log = api.text(path, container=model.serving.platform.container, tailLines=str(_LOG_LINES))
        for line in log.splitlines():
            read += 1
            if _DOWNLOAD.search(line) and not _OFFLINE.search(line):
                raise NotHeldError(
                    f"{name} logged: {line.strip()[:200]}",
                    f"the server looks for files outside of the image: point --model at "
                    f"{model.serving.platform.mount} only, and name no adapter or tokenizer of the hub in "
                    "`models.NAME.args`",
                )
    return f"no download in {read} log lines"


def _check_policy(api: KubeApi, model: ModelOutput) -> str:
    names: set[str] = set()
    for pod in _pods(api, model):
        cutting = _cutting(api, model, pod)
        if not cutting:
            raise NotHeldError(
                f"no NetworkPolicy of {model.namespace} limits the egress of {pod['metadata']['name']}",
                "`pulumi up` deploys one per model; without it only the server's own settings keep it offline",
            )
        # Policies add up: one that lets everything out undoes the others.
        for policy in cutting:
            if _open_rules(policy):
                if model.serving.pulled_by_pod:
                    raise NotRunError(_OPEN)
                raise NotHeldError(
                    f"NetworkPolicy {policy['metadata']['name']} lets {pod['metadata']['name']} reach any address on "
                    f"port {_HTTPS}",
                    "narrow its egress rules to what the server needs (DNS), or delete it",
                )
        names |= {policy["metadata"]["name"] for policy in cutting}
    return f"egress limited by {', '.join(sorted(names))}"


def _cutting(api: KubeApi, model: ModelOutput, pod: JSON) -> list[JSON]:
    """The policies that limit what a pod reaches."""
    policies = api.items(namespaced("networking.k8s.io/v1", model.namespace, "networkpolicies"))
    labels = pod["metadata"].get("labels") or {}
    return [policy for policy in policies if _cuts_egress(policy, labels)]


_OPEN = (
    f"its pods read their image themselves, on port {_HTTPS} of any address, so that no policy keeps the server beside "
    "from the hub: platforms.kserve.stream.reach and cidrs say where the registry is (docs/serving.md)"
)


def _cuts_egress(policy: JSON, labels: Mapping[str, str]) -> bool:
    spec = policy["spec"]
    types = spec.get("policyTypes") or (["Egress"] if "egress" in spec else [])
    return "Egress" in types and _selects(spec.get("podSelector") or {}, labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Apply a label selector (Kubernetes API, meta/v1 LabelSelector): an empty one selects all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(
        _holds(expression, labels.get(expression["key"])) for expression in selector.get("matchExpressions") or []
    )


def _holds(expression: Mapping[str, Any], value: str | None) -> bool:
    listed, there = value in (expression.get("values") or []), value is not None
    return {"In": listed, "NotIn": not listed, "Exists": there, "DoesNotExist": not there}[str(expression["operator"])]


def _open_rules(policy: JSON) -> list[JSON]:
    return [rule for rule in policy["spec"].get("egress") or [] if _leads_anywhere(rule) and _allows_https(rule)]


def _leads_anywhere(rule: JSON) -> bool:
    peers = rule.get("to") or [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    return any((peer.get("ipBlock") or {}).get("cidr") in {"0.0.0.0/0", "::/0"} for peer in peers)


def _allows_https(rule: JSON) -> bool:
    ports = [port for port in rule.get("ports") or [{}] if port.get("protocol", "TCP") == "TCP"]
    return any(_is_https(port.get("port"), port.get("endPort")) for port in ports)


def _is_https(port: int | str | None, end: int | None) -> bool:
    return port <= _HTTPS <= (end or port) if isinstance(port, int) else port in {None, "https"}


def _check_connection(api: KubeApi, model: ModelOutput, hub: str, *, connect: bool) -> str:
    if not connect:
        raise NotRunError("tries the hub from inside of the pod only with --on-demand connection")
    first = _pods(api, model)[0]
    pod = first["metadata"]["name"]
    done = api.execute(model.namespace, pod, model.serving.platform.container, ["sh", "-c", _CONNECT, hub], timeout=60)
    said = short(done.stdout + done.stderr)
    if done.code == _REACHED:
        if model.serving.pulled_by_pod and any(map(_open_rules, _cutting(api, model, first))):
            raise NotRunError(_OPEN)
        raise NotHeldError(
            f"{pod} reached {hub}:{_HTTPS}",
            "the NetworkPolicy is not enforced: GKE needs Dataplane V2 (or Calico) for that",
        )
    if done.code != _NOT_REACHED:
        raise NotRunError(f"the server's image has neither python3 nor nc to try with (exit code {done.code}) {said}")
    return f"{pod} cannot reach {hub}:{_HTTPS}{f': {said}' if said else ''}"
