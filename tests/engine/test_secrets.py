"""No secret of a stack is anywhere in plain: not in its state, a plan, what is said or logged, nor in arguments."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.engine import stacks
from tests.engine.ground import Ground, Stack
from tests.engine.provider.kinds import ACCESS_TOKEN

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-secrets")]

PASSWORD, TOKEN, HUB_TOKEN = "canary-of-a-registry", "canary-of-a-cluster", "canary-of-the-hub"
AUTH = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
SECRETS = {
    "password of a pull secret": PASSWORD,
    "the same, as Docker writes it": AUTH,
    "token in a kubeconfig": TOKEN,
    "token of the hub": HUB_TOKEN,
    "Google's access token": ACCESS_TOKEN,
}
VERBOSE = ("--logtostderr", "--logflow", "-v=9")


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ground, dict[str, str]]]:
    """The ground of stacks that have every secret, and each text that the engine and the providers left."""
    with stacks.ground(tmp_path_factory.mktemp("secrets") / "ground") as ground:
        texts = _texts(ground)
        yield ground, {**texts, "log of the program": (ground.folder / "host.log").read_text(encoding="utf-8")}


def _texts(ground: Ground) -> dict[str, str]:
    texts: dict[str, str] = {}
    for stack in (_in_google(ground), _on_a_cluster(ground)):
        plan = ground.folder / f"{stack.name}.plan"
        texts[f"preview of {stack.name}"] = stack.preview("--save-plan", str(plan), "--diff", *VERBOSE).well().said
        texts[f"plan of {stack.name}"] = plan.read_text(encoding="utf-8")
        for command in ("up", "up", "refresh"):
            done = stack.up(*VERBOSE) if command == "up" else stack.refresh("--diff", *VERBOSE)
            texts[f"{len(texts)}. what {command} of {stack.name} said"] = done.well().said
            texts[f"{len(texts)}. events of {command} of {stack.name}"] = ground.events_file.read_text(encoding="utf-8")
        texts[f"outputs of {stack.name}"] = ground.pulumi("stack", "output", "--json", "--stack", stack.name).said
    return texts


def _in_google(ground: Ground) -> Stack:
    stack = ground.stack("dev")
    stack.set("pullSecrets", value={"private": {"server": "registry.example", "username": "reader"}})
    key = "oci-model-serving:pullSecrets.private.password"
    ground.pulumi("config", "set", "--secret", "--path", key, "--stack", "dev", stdin=PASSWORD).well()
    key = "oci-model-serving:hubToken"
    ground.pulumi("config", "set", "--secret", key, "--stack", "dev", stdin=HUB_TOKEN).well()
    return stack


def _on_a_cluster(ground: Ground) -> Stack:
    stack = ground.stack("local")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    (ground.project / "kubeconfig.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    stack.set("cluster", value={"kubeconfig": "kubeconfig.yaml"})
    return stack


def leaks(text: str) -> list[str]:
    """The names of the secrets that are in a text."""
    return [name for name, secret in SECRETS.items() if secret in text]


def files(folder: Path) -> dict[str, str]:
    """The texts of all files below a folder, by their path."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8", errors="replace")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_the_engine_says_logs_plans_and_exports_holds_no_secret(said: tuple[Ground, dict[str, str]]) -> None:
    _, texts = said

    assert {name: leaks(text) for name, text in texts.items() if leaks(text)} == {}


def test_no_file_of_the_state_or_the_settings_holds_a_secret(said: tuple[Ground, dict[str, str]]) -> None:
    ground, _ = said
    state = files(ground.folder / "state")
    settings = {path.name: path.read_text(encoding="utf-8") for path in ground.project.glob("Pulumi.*.yaml")}

    assert any("history" in path for path in state)
    assert {name: leaks(text) for name, text in {**state, **settings}.items() if leaks(text)} == {}


def test_no_provider_or_command_is_started_with_a_secret_among_its_arguments(
    said: tuple[Ground, dict[str, str]],
) -> None:
    ground, _ = said
    started = [call["arguments"] for call in ground.calls() if call["method"] in {"start", "run"}]

    assert len(started) > 10
    assert [arguments for arguments in started if leaks(json.dumps(arguments))] == []


def test_no_provider_has_a_secret_of_the_stack_in_its_environment(said: tuple[Ground, dict[str, str]]) -> None:
    ground, _ = said
    environments = [call["environment"] for call in ground.calls() if call["method"] == "start"]

    assert {name for one in environments for name in leaks(json.dumps(one))} == set()


def test_who_may_read_the_secrets_finds_each_where_it_belongs(said: tuple[Ground, dict[str, str]]) -> None:
    ground, _ = said

    shown = {
        name: leaks(ground.pulumi("stack", "export", "--show-secrets", "--stack", name).said.replace('\\"', '"'))
        for name in ("dev", "local")
    }
    assert shown == {
        "dev": [
            *("password of a pull secret", "the same, as Docker writes it", "token of the hub"),
            "Google's access token",
        ],
        "local": ["token in a kubeconfig"],
    }
