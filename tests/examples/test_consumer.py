"""The consumer, whole on mocks, on the outputs that the program really exports."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.stack_file import find_project, read_config
from oci_model_serving.outputs import CONTRACT_VERSION, ContractError
from offline.diff import compare
from offline.plan import Plan
from offline.recording import Recording, record
from offline.values import Secret
from tests.deployed import ROOT, deploy, outputs_of
from tests.mocks import DIGEST, plain
from tests.smoke import openai_server

CONSUMER = ROOT / "examples" / "consumer"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
GATEWAY = "kubernetes:gateway.networking.k8s.io/v1:Gateway"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
HTTP_ROUTE = "kubernetes:gateway.networking.k8s.io/v1:HTTPRoute"
PROVIDER = "pulumi:providers:kubernetes"
PRODUCER = "acme/oci-model-serving/dev"
MODEL = "qwen2.5-0.5b-instruct"


@pytest.fixture(scope="module")
def dev() -> Recording:
    return deploy("dev")


@pytest.fixture(scope="module")
def prod(dev: Recording) -> Recording:
    return deploy("prod", stack_outputs={PRODUCER: dev.outputs})


def consume(folder: Path, outputs: Mapping[str, Any], **settings: str) -> Recording:
    """Run the consumer with these settings against a producer with these outputs."""
    file = folder / "Pulumi.test.yaml"
    values = {"producer": PRODUCER, "model": MODEL, **settings}
    file.write_text(yaml.safe_dump({"config": {f"oci-model-consumer:{key}": value for key, value in values.items()}}))
    config = read_config(find_project(CONSUMER), "test", file)
    return record(
        lambda: runpy.run_path(str(CONSUMER / "__main__.py"), run_name="__main__"),
        project="oci-model-consumer",
        stack_name="test",
        config=config.values,
        stack_outputs={PRODUCER: outputs},
    )


def test_the_app_learns_address_name_and_digest_of_the_model(dev: Recording, tmp_path: Path) -> None:
    consumer = consume(tmp_path, dev.outputs, namespace="chat")
    settings = consumer.only(CONFIG_MAP).inputs
    assert settings["metadata"] == {"name": "model-client", "namespace": "chat"}
    assert {key: value for key, value in settings["data"].items() if key != "app.py"} == {
        "OPENAI_BASE_URL": "http://qwen2-5-0-5b-instruct-models.example.com/v1",
        "OPENAI_MODEL": MODEL,
        "MODEL_DIGEST": DIGEST,
    }
    assert consumer.of_type(HTTP_ROUTE) == []
    assert consumer.outputs == {"base_url": settings["data"]["OPENAI_BASE_URL"], "digest": DIGEST}


def test_the_app_runs_what_the_config_map_holds_as_restricted_namespaces_ask(dev: Recording, tmp_path: Path) -> None:
    consumer = consume(tmp_path, dev.outputs)
    settings, app = consumer.only(CONFIG_MAP).inputs, consumer.only(DEPLOYMENT).inputs
    pod = app["spec"]["template"]
    (container,), (volume,) = pod["spec"]["containers"], pod["spec"]["volumes"]

    assert app["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert settings["data"]["app.py"] == (CONSUMER / "app.py").read_text()
    assert {one["valueFrom"]["configMapKeyRef"]["name"] for one in container["env"]} == {settings["metadata"]["name"]}
    named = {one["valueFrom"]["configMapKeyRef"]["key"] for one in container["env"]}
    assert named == settings["data"].keys() - {"app.py"}
    assert volume["configMap"]["name"] == settings["metadata"]["name"]
    assert container["command"][-1] == f"{container['volumeMounts'][0]['mountPath']}/app.py"


def test_a_hostname_is_routed_as_the_producers_gateway_and_service_allow(dev: Recording, tmp_path: Path) -> None:
    consumer = consume(tmp_path, dev.outputs, hostname="chat.example.com")
    route, gateway, own = consumer.only(HTTP_ROUTE).inputs, dev.only(GATEWAY).inputs, dev.only(HTTP_ROUTE).inputs
    (listener,) = gateway["spec"]["listeners"]
    (parent,) = route["spec"]["parentRefs"]
    assert parent == {"name": gateway["metadata"]["name"], "namespace": gateway["metadata"]["namespace"]}
    admitted = listener["allowedRoutes"]["namespaces"]["selector"]["matchLabels"]
    assert admitted == {"kubernetes.io/metadata.name": route["metadata"]["namespace"]}
    assert route["spec"]["hostnames"] == ["chat.example.com"]
    assert listener["hostname"] == "*.example.com"
    assert route["metadata"]["namespace"] == own["metadata"]["namespace"]
    (rule,), (of_producer,) = route["spec"]["rules"], own["spec"]["rules"]
    assert rule["backendRefs"] == of_producer["backendRefs"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v1"}}]
    # GKE's gateway classes refuse routes with timeouts.
    assert "timeouts" not in rule
    assert consumer.only(CONFIG_MAP).inputs["data"]["OPENAI_BASE_URL"] == "http://chat.example.com/v1"


def test_the_producers_kubeconfig_reaches_the_provider_as_a_secret(dev: Recording, tmp_path: Path) -> None:
    provider = consume(tmp_path, dev.outputs).only(PROVIDER)
    assert isinstance(provider.inputs["kubeconfig"], Secret)
    assert provider.inputs["kubeconfig"] == dev.outputs["kubeconfig"]


def test_with_a_folder_for_manifests_no_cluster_is_needed(dev: Recording, tmp_path: Path) -> None:
    without = {key: value for key, value in dev.outputs.items() if key != "kubeconfig"}
    provider = consume(tmp_path, without, manifests="out").only(PROVIDER)
    assert provider.inputs == {"renderYamlToDirectory": "out"}


def test_a_model_on_kubeai_is_called_at_kubeais_endpoint_by_its_own_name(prod: Recording, tmp_path: Path) -> None:
    consumer = consume(tmp_path, prod.outputs, model="qwen2.5-0.5b-openai")
    data = consumer.only(CONFIG_MAP).inputs["data"]
    (served,) = prod.of_type("kubernetes:kubeai.org/v1:Model")
    assert data["OPENAI_BASE_URL"] == "http://kubeai.kubeai.svc.cluster.local/openai/v1"
    assert data["OPENAI_MODEL"] == served.inputs["metadata"]["name"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"model": "qwen2.5-0.5b-openai", "hostname": "a.example.com"}, "is not behind a KServe gateway: leave"),
        ({"hostname": "chat.example.org"}, "is not below the gateway's domain: write NAME.example.com"),
    ],
)
def test_a_hostname_that_cannot_be_routed_is_refused_with_the_remedy(
    prod: Recording, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(Exception, match=said):
        consume(tmp_path, prod.outputs, **settings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"contract_version": None}, "acme/oci-model-serving/dev has no output contract_version"),
        ({"contract_version": CONTRACT_VERSION - 1}, "run `pulumi up` on it with this version"),
        ({"contract_version": CONTRACT_VERSION + 1}, "update this program"),
        ({"registry_url": None}, "registry_url: Field required"),
        ({"models": {}}, f"serves no model '{MODEL}': it serves none"),
    ],
)
def test_a_producer_of_another_contract_fails_the_consumer_with_the_remedy(
    dev: Recording, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    outputs = {key: value for key, value in {**dev.outputs, **change}.items() if value is not None}
    with pytest.raises(ContractError) as refused:
        consume(tmp_path, outputs)
    assert said in str(refused.value)


def test_a_new_digest_changes_the_apps_settings_and_with_them_its_pods(dev: Recording, tmp_path: Path) -> None:
    other = "sha256:" + "f" * 64
    plans = [
        Plan("oci-model-consumer", "test", consume(tmp_path, outputs, hostname="chat.example.com")).data()
        for outputs in (dev.outputs, deploy("dev", digest=other).outputs)
    ]
    diff = compare(*plans)
    changed = {change.type: change for change in diff.resources}
    assert changed.keys() == {CONFIG_MAP, DEPLOYMENT}
    assert [(item.path, item.before, item.after) for item in changed[CONFIG_MAP].changes] == [
        ("data.MODEL_DIGEST", DIGEST, other)
    ]
    assert [item.path for item in changed[DEPLOYMENT].changes] == ["spec.template.metadata.annotations.settings"]
    assert [item.path for item in diff.outputs] == ["digest"]


def test_offline_plans_the_consumer_with_outputs_from_a_file(dev: Recording, tmp_path: Path) -> None:
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps(plain(outputs_of(dev))))
    settings = tmp_path / "Pulumi.try.yaml"
    settings.write_text(f"config: {{oci-model-consumer:producer: {PRODUCER}, oci-model-consumer:model: {MODEL}}}\n")
    line = ["-m", "offline", "--stack", "try", "--config-file", str(settings), "--outputs", f"{PRODUCER}={file}"]
    done = subprocess.run(
        [sys.executable, *line, "--format", "json"],
        cwd=CONSUMER,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outputs"]["digest"] == DIGEST
    assert "gke-gcloud-auth-plugin" not in done.stdout


def test_the_reader_needs_no_more_than_the_package_declares() -> None:
    code = "import sys, oci_model_serving.outputs; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"pulumi", "pydantic", "oci_model_serving"} <= loaded
    assert not loaded & {"modelimage", "offline", "pulumi_gcp", "pulumi_kubernetes", "pulumi_docker", "httpx"}


def test_the_consumer_runs_the_versions_of_the_program() -> None:
    program = (ROOT / "requirements.txt").read_text().splitlines()
    lines = [line for line in (CONSUMER / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "../.."
    assert set(lines[1:]) <= set(program)


def app(url: str) -> "subprocess.CompletedProcess[str]":
    """Run the app for one question, with nothing but what its pod has."""
    environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_MODEL": MODEL, "MODEL_DIGEST": DIGEST}
    line = [sys.executable, "-S", str(CONSUMER / "app.py"), "once"]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=True, timeout=60)


def test_the_app_asks_the_model_by_its_name_and_logs_the_answer_with_the_digest() -> None:
    with openai_server.serve(MODEL) as server:
        done = app(f"http://{server.address}")
    assert done.stdout.startswith(f"{DIGEST}: ")
    assert done.stdout.strip() != f"{DIGEST}:"
    assert done.stderr == ""


@pytest.mark.parametrize("fault", ["unavailable", "not-json", "no-choices"])
def test_an_app_whose_server_is_not_well_says_so_and_goes_on(fault: str) -> None:
    with openai_server.serve(MODEL, fault=fault) as server:
        done = app(f"http://{server.address}")
    assert done.stdout == ""
    assert done.stderr.startswith(f"http://{server.address}/v1: ")


def test_an_app_whose_server_is_away_says_so_and_goes_on() -> None:
    done = app("http://127.0.0.1:9")
    assert done.stdout == ""
    assert done.stderr.startswith("http://127.0.0.1:9/v1: ")


ON_YAML = yaml.safe_load((ROOT / "examples" / "consumer-yaml" / "Pulumi.yaml").read_text())


def references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from references(one)
    elif isinstance(part, str):
        yield from re.findall(r"\$\{([^}]+)\}", part)


def test_a_program_of_another_language_names_only_outputs_that_the_schema_has(dev: Recording) -> None:
    """Pulumi YAML's expressions: each is followed through the schema, and through what dev exports."""
    schema = json.loads((ROOT / "docs" / "outputs.schema.json").read_text())
    of_outputs = [one for one in references(ON_YAML) if one.startswith("serving.outputs")]
    assert len(of_outputs) >= 5
    for expression in of_outputs:
        said, value = schema, plain(outputs_of(dev))
        for key in re.findall(r'\["([^"]+)"\]', expression):
            said = schema["$defs"][said["$ref"].rpartition("/")[2]] if "$ref" in said else said
            said = said["properties"][key] if "properties" in said else said["additionalProperties"]
            value = value[key]
        assert said
        assert value
