"""No secret of a stack is anywhere in plain: not in its state, a plan, what is said or logged, nor in arguments."""

import base64
import json
import stat
from collections.abc import Iterator

import pytest
import yaml

from tests.canary import files, leaks
from tests.engine import stacks
from tests.engine.ground import PASSPHRASE, Ground, Stack
from tests.engine.provider.kinds import ACCESS_TOKEN

pytestmark = [*stacks.ENGINE, pytest.mark.xdist_group("engine-secrets")]

# With what JSON, addresses and shells write otherwise.
PASSWORD, TOKEN, HUB_TOKEN = 'canary/"of"+a registry&', "canary-of-a-cluster", "canary-of-the-hub"
SERVER_KEY, CLIENT_KEY = "canary=of 'a' $server", base64.b64encode(b"canary of a client's key").decode()
MODEL = "qwen2.5-0.5b-instruct"
AUTH = base64.b64encode(f"reader:{PASSWORD}".encode()).decode()
SECRETS = {
    "password of a pull secret": PASSWORD,
    "the same, as Docker writes it": AUTH,
    "token in a kubeconfig": TOKEN,
    "client's key in a kubeconfig": CLIENT_KEY,
    "token of the hub": HUB_TOKEN,
    "variable of a server": SERVER_KEY,
    "passphrase of the state": PASSPHRASE,
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
    key = f'oci-model-serving:models["{MODEL}"].secretEnv.VLLM_API_KEY'
    ground.pulumi("config", "set", "--secret", "--path", key, "--stack", "dev", stdin=SERVER_KEY).well()
    return stack


def _on_a_cluster(ground: Ground) -> Stack:
    stack = ground.stack("local")
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "test", "user": {"token": TOKEN, "client-key-data": CLIENT_KEY}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    (ground.project / "kubeconfig.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    stack.set("cluster", value={"kubeconfig": "kubeconfig.yaml"})
    return stack


def test_what_the_engine_says_logs_plans_and_exports_holds_no_secret(said: tuple[Ground, dict[str, str]]) -> None:
    _, texts = said

    assert {name: leaks(text, SECRETS) for name, text in texts.items() if leaks(text, SECRETS)} == {}


def test_the_program_knows_where_in_a_key_the_engine_has_decrypted_a_secret(
    said: tuple[Ground, dict[str, str]],
) -> None:
    _, texts = said

    assert [name for name, text in texts.items() if "does not say which" in text] == []


def test_no_file_of_the_state_or_the_settings_holds_a_secret(said: tuple[Ground, dict[str, str]]) -> None:
    ground, _ = said
    state = dict(files(ground.folder / "state"))
    settings = {path.name: path.read_text(encoding="utf-8") for path in ground.project.glob("Pulumi.*.yaml")}

    assert any("history" in path for path in state)
    assert {name: leaks(text, SECRETS) for name, text in {**state, **settings}.items() if leaks(text, SECRETS)} == {}


def test_no_layer_cache_or_temporary_file_holds_a_secret_and_none_is_open_to_others(
    said: tuple[Ground, dict[str, str]],
) -> None:
    ground, _ = said
    own = ground.project / ".local"
    kept = dict(files(own, ground.folder / "cache", ground.folder / "tmp", ground.folder / "home"))

    assert any("/images/" in path for path in kept)
    assert any("oci-model-serving" in path for path in kept)
    assert {path: leaks(text, SECRETS) for path, text in kept.items() if leaks(text, SECRETS)} == {}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (own, ground.folder / "cache/oci-model-serving")}
    assert set(modes.values()) == {0o700}


def test_a_secret_is_in_the_environment_of_the_one_command_that_needs_it_alone(
    said: tuple[Ground, dict[str, str]],
) -> None:
    ground, _ = said
    ran = [call for call in ground.calls() if call["method"] == "run"]

    found = {(call["urn"].rpartition("::")[2], *leaks(json.dumps(call["environment"]), SECRETS)) for call in ran}
    assert {one for one in found if len(one) > 1} == {(f"{MODEL}-context", "token of the hub")}


def test_no_provider_or_command_is_started_with_a_secret_among_its_arguments(
    said: tuple[Ground, dict[str, str]],
) -> None:
    ground, _ = said
    started = [call["arguments"] for call in ground.calls() if call["method"] in {"start", "run"}]

    assert len(started) > 10
    assert [arguments for arguments in started if leaks(json.dumps(arguments), SECRETS)] == []


def test_no_provider_has_a_secret_of_the_stack_in_its_environment(said: tuple[Ground, dict[str, str]]) -> None:
    ground, _ = said
    environments = [call["environment"] for call in ground.calls() if call["method"] == "start"]

    assert {name for one in environments for name in leaks(json.dumps(one), SECRETS)} == set()


def test_who_may_read_the_secrets_finds_each_where_it_belongs(said: tuple[Ground, dict[str, str]]) -> None:
    ground, _ = said

    shown = {
        name: leaks(ground.pulumi("stack", "export", "--show-secrets", "--stack", name).said, SECRETS)
        for name in ("dev", "local")
    }
    assert shown == {
        "dev": [
            *("password of a pull secret", "the same, as Docker writes it", "token of the hub"),
            *("variable of a server", "Google's access token"),
        ],
        "local": [],  # its kubeconfig is known by its path
    }
