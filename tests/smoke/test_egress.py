"""Nothing is fetched from a hub: environment, log, NetworkPolicy, and a connection that must fail."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smoke.checks import Check, Status
from smoke.egress import egress
from tests.recorded_api import RecordedApi, merge
from tests.smoke import stacks
from watch.kube import Executed, KubeApi

POLICIES = "/apis/networking.k8s.io/v1/namespaces/models/networkpolicies"
LOG = f"{stacks.path_of_pods()}/p-1/log"
DNS: dict[str, Any] = {
    "to": [{"ipBlock": {"cidr": "169.254.20.10/32"}}],
    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}],
}
SELECTOR = {"matchLabels": {"serving.kserve.io/inferenceservice": stacks.NAME}}


def policy(name: str = "qwen", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"podSelector": SELECTOR, "policyTypes": ["Egress"], "egress": [DNS], **spec},
    }


@pytest.fixture
def offline(cluster: RecordedApi) -> RecordedApi:
    """A model that is cut off as this project cuts it off."""
    cluster.objects[f"{stacks.path_of_pods()}/p-1"] = stacks.pod()
    cluster.objects[f"{POLICIES}/qwen"] = policy()
    cluster.answers["GET", LOG] = (200, "INFO Loading safetensors checkpoint shards: 100%\nINFO Application startup\n")
    return cluster


def checks(api: KubeApi, *, connect: bool = False) -> dict[str, Check]:
    return {check.name: check for check in egress(api, [stacks.model()], connect=connect)}


def test_a_model_that_is_cut_off_holds_and_the_connection_is_left_for_demand(
    api: KubeApi, offline: RecordedApi
) -> None:
    found = checks(api)

    assert [found[name].status for name in ("offline-env", "log", "network-policy")] == [Status.PASS] * 3
    assert found["connection"].status is Status.SKIP
    assert "--on-demand connection" in found["connection"].evidence


def test_a_missing_offline_variable_is_named(api: KubeApi, offline: RecordedApi) -> None:
    pod = offline.objects[f"{stacks.path_of_pods()}/p-1"]
    merge(
        pod, {"spec": {"containers": [{"name": "kserve-container", "env": [{"name": "HF_HUB_OFFLINE", "value": "1"}]}]}}
    )

    found = checks(api)["offline-env"]

    assert found.status is Status.FAIL
    assert "TRANSFORMERS_OFFLINE=1" in found.evidence
    assert "HF_HUB_OFFLINE=1" not in found.evidence


@pytest.mark.parametrize(
    "line",
    [
        "INFO:httpx:HTTP Request: GET https://huggingface.co/api/models/Qwen/Qwen2.5-0.5B-Instruct",
        "Fetching 9 files:  11%|█         | 1/9",
        "Downloading shards:  50%|",
        "model-00001-of-00009.safetensors: resolve/main/model.safetensors 12%",
    ],
)
def test_a_download_line_in_the_log_fails_and_is_shown(api: KubeApi, offline: RecordedApi, line: str) -> None:
    offline.answers["GET", LOG] = (200, f"INFO starting\n{line}\n")

    found = checks(api)["log"]

    assert found.status is Status.FAIL
    assert line in found.evidence


@pytest.mark.parametrize(
    "line",
    [
        "OfflineModeIsEnabled: Cannot reach https://huggingface.co/x: offline mode is enabled.",
        "INFO Loading safetensors checkpoint shards: 100% Completed | 1/1",
    ],
)
def test_a_line_that_proves_offline_mode_is_no_download(api: KubeApi, offline: RecordedApi, line: str) -> None:
    offline.answers["GET", LOG] = (200, line)

    assert checks(api)["log"].status is Status.PASS


@pytest.mark.parametrize(
    "policies",
    [
        [],
        [policy(podSelector={"matchLabels": {"app": "other"}})],
        [policy(policyTypes=["Ingress"])],
        [policy(podSelector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["vllm"]}]})],
    ],
    ids=["none", "another pod's", "ingress only", "an expression that does not match"],
)
def test_no_policy_that_selects_the_pod_fails(
    api: KubeApi, offline: RecordedApi, policies: list[dict[str, Any]]
) -> None:
    offline.objects.pop(f"{POLICIES}/qwen")
    offline.objects.update({f"{POLICIES}/{index}": found for index, found in enumerate(policies)})

    found = checks(api)["network-policy"]

    assert found.status is Status.FAIL
    assert "no NetworkPolicy" in found.evidence


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]},
        {"to": [{"ipBlock": {"cidr": "::/0"}}], "ports": [{"port": 443}]},
        {"ports": [{"port": 1, "endPort": 65535, "protocol": "TCP"}]},
    ],
)
def test_a_policy_that_lets_https_out_to_anywhere_fails_by_name(
    api: KubeApi, offline: RecordedApi, rule: dict[str, Any]
) -> None:
    offline.objects[f"{POLICIES}/open"] = policy("open", egress=[rule])

    found = checks(api)["network-policy"]

    assert found.status is Status.FAIL
    assert "NetworkPolicy open" in found.evidence


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["vllm"]}]},
        {"matchExpressions": [{"key": "app", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"}]},
    ],
)
def test_every_form_of_selector_that_matches_counts(
    api: KubeApi, offline: RecordedApi, selector: dict[str, Any]
) -> None:
    offline.objects[f"{POLICIES}/qwen"] = policy(podSelector=selector)

    assert checks(api)["network-policy"].status is Status.PASS


@pytest.mark.parametrize(
    ("code", "status"), [(42, Status.FAIL), (43, Status.PASS), (44, Status.SKIP), (127, Status.SKIP)]
)
def test_a_connection_attempt_tells_reached_from_cut_off_and_from_not_tried(
    api: KubeApi, offline: RecordedApi, monkeypatch: pytest.MonkeyPatch, code: int, status: Status
) -> None:
    monkeypatch.setattr(api, "execute", lambda *_, **__: Executed(code, "[Errno -3] Temporary failure", ""))

    assert checks(api, connect=True)["connection"].status is status


def test_a_model_without_pods_is_skipped(api: KubeApi) -> None:
    assert {check.status for check in checks(api).values()} == {Status.SKIP}


@given(port=st.integers(1, 65535), width=st.integers(0, 200))
def test_a_port_range_lets_https_out_only_when_443_is_in_it(port: int, width: int) -> None:
    from smoke.egress import _open_rules

    rule = {"ports": [{"port": port, "endPort": min(65535, port + width)}]}

    assert bool(_open_rules(policy(egress=[rule]))) is (443 in range(port, port + width + 1))


# A pod that reads its image itself.

REGISTRY: dict[str, Any] = {"ports": [{"port": 443, "protocol": "TCP"}]}


def streamed(api: KubeApi, *, connect: bool = False) -> dict[str, Check]:
    return {check.name: check for check in egress(api, [stacks.model("stream")], connect=connect)}


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        (REGISTRY, Status.SKIP),
        ({**REGISTRY, "to": [{"ipBlock": {"cidr": "199.36.153.8/30"}}]}, Status.PASS),
    ],
)
def test_a_registrys_port_at_any_address_is_told_and_no_failure(
    api: KubeApi, offline: RecordedApi, rule: dict[str, Any], status: Status
) -> None:
    offline.objects[f"{stacks.path_of_pods()}/p-1"] = stacks.pod("stream")
    offline.objects[f"{POLICIES}/qwen"] = policy(egress=[DNS, rule])

    check = streamed(api)["network-policy"]

    assert check.status is status
    assert ("platforms.kserve.stream.reach" in check.evidence) is (status is Status.SKIP)


@pytest.mark.parametrize(("rule", "status"), [(REGISTRY, Status.SKIP), (DNS, Status.FAIL)])
def test_a_hub_that_is_reached_though_no_rule_leads_there_is_a_failure(
    api: KubeApi, offline: RecordedApi, monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any], status: Status
) -> None:
    offline.objects[f"{stacks.path_of_pods()}/p-1"] = stacks.pod("stream")
    offline.objects[f"{POLICIES}/qwen"] = policy(egress=[DNS, rule])
    monkeypatch.setattr(api, "execute", lambda *_, **__: Executed(42, "", ""))

    assert streamed(api, connect=True)["connection"].status is status
