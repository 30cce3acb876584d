"""The endpoint's checks, against a real HTTP server that speaks the OpenAI API."""

from typing import Any

import pytest

from smoke.checks import Check, Status
from smoke.validate import _lines, _texts, validate
from tests.recorded_api import RecordedApi
from tests.smoke import openai_server, stacks
from watch.causes import NotHeldError
from watch.kube import KubeApi

HOST = f"{stacks.NAME}-models.example.com"


TASKS = ["embedding", "reranking", "pooling", "speech"]
ADAPTERS = {"sql": {"image": stacks.IMAGE, "digest": stacks.DIGEST, "size_bytes": 1}}


def checks(api: KubeApi, address: str | None, *, timeout: float = 5, **model: Any) -> dict[str, Check]:
    outputs = stacks.outputs(**model)
    found = validate(api, outputs, [stacks.model(**model)], address=address, timeout=timeout)
    return {check.name: check for check in found}


def test_a_healthy_endpoint_holds_and_shows_fingerprint_and_latency(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY, host=HOST) as server:
        found = checks(api, server.address)

    assert {check.status for check in found.values()} == {Status.PASS}
    assert openai_server.FINGERPRINT in found["chat"].evidence
    assert " ms" in found["chat"].evidence
    assert found["stream"].evidence.startswith("2 chunks")


def test_the_models_host_goes_into_the_host_header(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY, host=HOST) as server:
        checks(api, server.address)

    assert {host for _, host, _ in server.requests} == {HOST}
    assert {path for path, _, _ in server.requests} == {"/v1/models", "/v1/chat/completions"}


def test_another_served_name_fails_with_the_names_that_are_served(api: KubeApi) -> None:
    with openai_server.serve("other", host=HOST) as server:
        found = checks(api, server.address)

    assert found["models"].status is Status.FAIL
    assert "other" in found["models"].evidence
    assert "servedName" in found["models"].remedy
    assert found["chat"].status is Status.FAIL


@pytest.mark.parametrize(
    ("fault", "check", "said"),
    [
        ("unavailable", "models", "503"),
        ("unavailable", "chat", "503"),
        ("unavailable", "stream", "503"),
        ("not-json", "models", "no JSON"),
        ("no-choices", "chat", "no choice"),
        ("buffered", "stream", "application/json"),
        ("cut", "stream", "broke off after 2 chunks"),
        ("garbage", "stream", "no JSON object"),
    ],
)
def test_a_fault_fails_the_check_that_it_concerns(api: KubeApi, fault: str, check: str, said: str) -> None:
    with openai_server.serve(stacks.KEY, fault=fault) as server:
        found = checks(api, server.address)

    assert found[check].status is Status.FAIL
    assert said in found[check].evidence
    assert found[check].remedy


@pytest.mark.parametrize("fault", ["endless", "dripping"])
def test_a_stream_that_never_ends_is_left_after_the_timeout(api: KubeApi, fault: str) -> None:
    with openai_server.serve(stacks.KEY, fault=fault) as server:
        found = checks(api, server.address, timeout=1)

    assert found["stream"].status is Status.FAIL
    assert "had not ended after 1 s" in found["stream"].evidence


@pytest.mark.parametrize("chunks", [["x" * 600_000] * 3, ["x\n" * 300_000] * 40])
def test_a_stream_that_is_no_stream_of_events_is_left_after_a_few_megabytes(chunks: list[str]) -> None:
    with pytest.raises(NotHeldError, match="characters and goes on"):
        list(_lines(iter(chunks), 60))


def test_a_letter_that_comes_in_two_parts_is_one() -> None:
    assert list(_texts(iter([b"\xc3", b"\xa9\xff"]))) == ["", "é\ufffd"]


def test_nothing_listening_fails_with_the_address(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY) as server:
        address = server.address

    assert checks(api, address)["models"].status is Status.FAIL


def test_a_paused_model_is_skipped(api: KubeApi) -> None:
    assert {check.status for check in checks(api, "127.0.0.1:1", paused=True).values()} == {Status.SKIP}


def test_the_gateways_address_and_listener_port_are_used(api: KubeApi, cluster: RecordedApi) -> None:
    with openai_server.serve(stacks.KEY, host=HOST) as server:
        host, _, port = server.address.partition(":")
        cluster.objects["/apis/gateway.networking.k8s.io/v1/namespaces/kserve/gateways/kserve-ingress-gateway"] = {
            "metadata": {"name": "kserve-ingress-gateway"},
            "spec": {"listeners": [{"name": "http", "protocol": "HTTP", "port": int(port)}]},
            "status": {"addresses": [{"type": "IPAddress", "value": host}]},
        }
        found = checks(api, None)

    assert {check.status for check in found.values()} == {Status.PASS}


def test_a_gateway_without_an_address_fails_with_its_condition(api: KubeApi, cluster: RecordedApi) -> None:
    cluster.objects["/apis/gateway.networking.k8s.io/v1/namespaces/kserve/gateways/kserve-ingress-gateway"] = {
        "spec": {"listeners": []},
        "status": {"conditions": [{"type": "Accepted", "status": "Unknown", "message": "Waiting for controller"}]},
    }

    found = checks(api, None)["models"]

    assert found.status is Status.FAIL
    assert "Accepted=Unknown Waiting for controller" in found.evidence


def test_an_absent_gateway_fails_and_names_the_argument_to_use(api: KubeApi) -> None:
    found = checks(api, None)["models"]

    assert found.status is Status.FAIL
    assert "--address" in found.remedy


def test_a_url_inside_of_the_cluster_goes_through_the_api_servers_proxy(api: KubeApi, cluster: RecordedApi) -> None:
    proxy = "/api/v1/namespaces/kubeai/services/kubeai:80/proxy/openai"
    cluster.answers["GET", f"{proxy}/v1/models"] = (200, {"data": [{"id": stacks.KEY}]})

    found = checks(api, None, delivery="kubeai", url="http://kubeai.kubeai.svc.cluster.local/openai")

    assert found["models"].status is Status.PASS
    assert "kubeai/kubeai through the API server" in found["models"].evidence


@pytest.mark.parametrize(
    ("task", "said"),
    [("embedding", "2 dimensions"), ("reranking", "2 scores"), ("pooling", "2 values"), ("speech", "1 characters")],
)
def test_a_model_is_asked_what_it_is_for(api: KubeApi, task: str, said: str) -> None:
    with openai_server.serve(stacks.KEY, task=task) as server:
        found = checks(api, server.address, task=task)

    assert set(found) == {"models", task}
    assert {check.status for check in found.values()} == {Status.PASS}
    assert found[task].evidence.endswith(said)


@pytest.mark.parametrize("task", TASKS)
def test_a_server_that_was_started_for_another_task_is_told(api: KubeApi, task: str) -> None:
    with openai_server.serve(stacks.KEY, task="generation") as server:
        found = checks(api, server.address, task=task)[task]

    assert found.status is Status.FAIL
    assert "404" in found.evidence
    assert "models.NAME.task" in found.remedy


@pytest.mark.parametrize("task", TASKS)
def test_an_answer_of_another_form_is_none(api: KubeApi, task: str) -> None:
    with openai_server.serve(stacks.KEY, task=task, fault="odd") as server:
        found = checks(api, server.address, task=task)[task]

    assert found.status is Status.FAIL
    assert "models.NAME.task" in found.remedy


def test_a_server_without_a_library_for_sound_is_told_what_its_image_lacks(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY, task="speech", fault="deaf") as server:
        found = checks(api, server.address, task="speech")["speech"]

    assert found.status is Status.FAIL
    assert "extra `audio`" in found.remedy


def test_kubeai_is_asked_to_list_models_of_the_task(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY, task="embedding", listed="feature=TextEmbedding") as server:
        found = checks(api, server.address, delivery="kubeai", task="embedding")

    assert {check.status for check in found.values()} == {Status.PASS}


def test_each_adapter_is_listed_and_answers(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY, adapters=("sql",)) as server:
        found = checks(api, server.address, adapters=ADAPTERS)

    assert found["adapter sql"].status is Status.PASS
    assert "sql" in found["models"].evidence
    assert "sql" in {body.get("model") for _, _, body in server.requests}


def test_an_adapter_that_the_server_has_not_loaded_is_told(api: KubeApi) -> None:
    with openai_server.serve(stacks.KEY) as server:
        found = checks(api, server.address, adapters=ADAPTERS)

    assert {found["models"].status, found["adapter sql"].status} == {Status.FAIL}
    assert "adapter" in found["models"].remedy
    assert found["chat"].status is Status.PASS
