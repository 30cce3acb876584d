"""A secret stays one or is refused by name, and what looks like one in plain text is refused with the remedy."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import plain_secrets, secrecy
from components.settings import reader as settings
from components.settings.encrypted import path_of
from components.settings.stack import Settings
from components.settings.stack_file import MASK
from tests.components.settings.reading import problems, read
from tests.mocks import record
from tests.serving import IMAGE, NAMESPACE, gke

CANARY = "canary-1f0b7d"
HF_TOKEN = "hf_aB3dE5gH7jK9mN1pQ3sT5vW7yZ0cF2hJ4l"
PEM = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA" * 8 + "\n-----END RSA PRIVATE KEY-----"
JWT = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"RS256","typ":"JWT"}', b'{"iss":"kubernetes/serviceaccount"}', b"signature-of-it")
)
MODEL = {"digest": IMAGE, "nodePool": "l4"}


def given(place: tuple[str | int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A stack with a secret at a place, as its file says it and as the engine hands it over."""
    stack = gke({"qwen": {**MODEL, "env": {"A": "b"}, "args": ["--max-model-len=8192"]}})
    config: dict[str, Any] = {f"{NAMESPACE}:{key}": value for key, value in stack.items()}
    config |= {"gcp:project": "demo", "gcp:region": "us-central1"}
    first, *rest = place
    key = str(first) if ":" in str(first) else f"{NAMESPACE}:{first}"
    return {**config, key: _set(config.get(key), rest, {"secure": "v1:x"})}, {
        **config,
        key: _set(config.get(key), rest, CANARY),
    }


def _set(value: Any, path: list[str | int], leaf: Any) -> Any:
    if not path:
        return leaf
    name, *rest = path
    if isinstance(name, int):
        return [*(value or [])[:name], _set(None, rest, leaf)]
    return {**(value or {}), name: _set((value or {}).get(name), rest, leaf)}


def load(folder: Path, written: dict[str, Any], handed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a stack with this file, which the engine has decrypted."""
    (folder / "Pulumi.yaml").write_text(f"name: {NAMESPACE}\nruntime: python\n")
    (folder / "Pulumi.dev.yaml").write_text(yaml.safe_dump({"config": written}))
    monkeypatch.chdir(folder)
    seen: list[Settings] = []
    record(
        lambda: seen.append(settings.load()),
        config={key: value if isinstance(value, str) else json.dumps(value) for key, value in handed.items()},
        secret_keys=[key for key, value in written.items() if '"secure"' in json.dumps(value)],
        project=NAMESPACE,
        stack_name="dev",
    )
    return seen[0]


@pytest.mark.parametrize(
    "place",
    [
        ("hubToken",),
        ("models", "qwen", "secretEnv", "VLLM_API_KEY"),
        ("pullSecrets", "private", "password"),
        ("pullSecrets", "private", "username"),
    ],
    ids=path_of,
)
def test_a_secret_where_it_stays_one_is_read(
    place: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, handed = given(place)
    for config in (written, handed):
        if place[0] == "pullSecrets":
            whole = {"server": "registry.example", "username": "u", "password": {"secure": "v1:y"}}
            name = f"{NAMESPACE}:pullSecrets"
            config[name] = {"private": {**whole, **config[name]["private"]}}
    if place[-1] == "username":
        handed[f"{NAMESPACE}:pullSecrets"]["private"]["password"] = "another-one"

    made = load(tmp_path, written, handed, monkeypatch)

    assert CANARY not in repr({**vars(made), "sections": None})
    assert not made.warnings or CANARY not in "".join(made.warnings)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("models", "qwen", "env", "A"), "models.qwen.env.A"),
        (("models", "qwen", "args", 1), "models.qwen.args"),
        (("models", "qwen", "labels", "team"), "models.qwen.labels.team"),
        (("models", "qwen", "server", "image"), "models.qwen.server.image"),
        (("models", "qwen", "servedName"), "models.qwen.servedName"),
        (("models", "qwen"), "models.qwen"),
        (("models",), "models"),
        (("registry", "create", "repository"), "registry.create.repository"),
        (("registry",), "registry"),
        (("nodePools", "l4", "labels", "team"), "nodePools.l4.labels.team"),
        (("cluster", "create", "name"), "cluster.create.name"),
        (("clusterBuild", "env", "X"), "clusterBuild.env.X"),
        (("pullSecrets", "private", "server"), "pullSecrets.private.server"),
        (("target",), "target"),
        (("gcp:project",), "gcp:project"),
    ],
)
def test_a_secret_that_would_become_plain_is_refused_by_name_and_never_repeated(
    place: tuple[str | int, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = said if ":" in said else f"{NAMESPACE}:{said}"

    with pytest.raises(settings.SettingsError) as caught:
        load(tmp_path, *given(place), monkeypatch)

    assert any(
        text.startswith(f"{name}: is set with --secret, and would stand in plain") for text in caught.value.problems
    )
    assert CANARY not in str(caught.value)


def test_one_encrypted_value_covers_no_other_below_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, handed = given(("models", "qwen", "secretEnv", "VLLM_API_KEY"))
    for config in (written, handed):
        config[f"{NAMESPACE}:models"]["other"] = {**MODEL, "secretEnv": {"KEY": "hunter2"}}

    with pytest.raises(settings.SettingsError) as caught:
        load(tmp_path, written, handed, monkeypatch)

    assert [text.partition(": ")[0] for text in caught.value.problems] == [f"{NAMESPACE}:models.other.secretEnv"]
    assert "hunter2" not in str(caught.value)


def test_where_the_file_does_not_tell_a_key_with_room_for_secrets_is_taken_and_any_other_refused() -> None:
    has = gke({"qwen": {**MODEL, "secretEnv": {"KEY": CANARY}}})

    (warning,) = [text for text in read(has, secret=["models"]).warnings if text.startswith("models: ")]
    assert "does not say which" in warning
    assert "models: is set with --secret" in "".join(problems(gke({"qwen": MODEL}), secret=["models"]))
    assert "registry: is set with --secret" in "".join(problems(gke({"qwen": MODEL}), secret=["registry"]))


def test_a_plan_without_the_engine_refuses_the_same_by_the_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, handed = given(("models", "qwen", "env", "A"))
    masked = json.loads(json.dumps(handed).replace(CANARY, MASK))

    with pytest.raises(settings.SettingsError, match=r"models\.qwen\.env\.A: is set with --secret"):
        load(tmp_path, written, masked, monkeypatch)


def test_what_the_program_starts_inherits_no_decrypted_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, handed = given(("hubToken",))
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(handed))

    load(tmp_path, written, handed, monkeypatch)

    assert CANARY not in "".join(os.environ.values())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("models.qwen.labels", {"team": HF_TOKEN}),
        ("models.qwen.server.args", ["--admin-api-key", "k1"]),
        ("models.qwen.server.command", ["sh", "-c", "export TOKEN=abcdef; exec serve"]),
        ("models.qwen.env", {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=0f1e2d3c4b"}),
        ("models.qwen.env", {"EXTRA": json.dumps({"db": {"password": "hunter2"}})}),
        ("models.qwen.source", "https://user:hunter2@weights.example/model"),
        ("registry.url", "user:hunter2@registry.example/models"),
        ("nodePools.l4.resourceLabels", {"owner": HF_TOKEN}),
        ("cluster.kubeconfig", "apiVersion: v1\ncontexts: []\nusers:\n- user:\n    token: hunter2\n"),
        ("clusterBuild.env", {"PIP_INDEX_URL": "https://ci:hunter2@pypi.example/simple"}),
        ("platforms.kserve.prometheus", "http://admin:hunter2@prometheus:9090"),
    ],
)
def test_a_secret_in_plain_text_is_refused_wherever_it_is_and_never_repeated(path: str, value: Any) -> None:
    stack = gke({"qwen": {**MODEL, "server": {"image": IMAGE}}})
    first, *rest = path.split(".")
    stack[first] = _set(stack.get(first), list(rest), value)

    found = problems(stack)

    told = "\n".join(found)
    secrets = [text for text in ("hunter2", HF_TOKEN, "k1'", "abcdef", "0f1e2d3c4b") if text in json.dumps(value)]
    refused = ("in plain text", "is a secret, and would stand in the Job")
    assert any(text.startswith(f"{NAMESPACE}:{path}") and any(one in text for one in refused) for text in found), found
    assert [text for text in secrets if text in told] == []


@pytest.mark.parametrize("text", [HF_TOKEN, PEM, JWT, json.dumps({"type": "service_account", "private_key": PEM})])
def test_a_providers_key_in_plain_text_is_refused_with_its_own_remedy(text: str) -> None:
    found = problems(gke({"qwen": MODEL}), elsewhere={"gcp:accessToken": text})

    assert "gcp:accessToken: is a secret in plain text" in found[0]
    assert "`pulumi config set --secret gcp:accessToken`" in found[0]
    assert read(
        gke({"qwen": MODEL}), elsewhere={"gcp:credentials": "/keys/ci.json", "gcp:disableGlobalProjectWarning": "true"}
    )


NO_SECRETS = {
    # The environment of vLLM (`vllm/envs.py`), of the libraries below it and of other servers.
    "HF_TOKENIZER": "org/name",
    "TOKENIZER_MODE": "slow",
    "TOKENIZERS_PARALLELISM": "false",
    "MAX_TOKENS": "4096",
    "VLLM_MAX_TOKENS_PER_EXPERT_FP4_MOE": "163840",
    "VLLM_KV_CACHE_LAYOUT": "HND",
    "KEY_CACHE_SIZE": "8",
    "K_SCALE_CONSTANT": "200",
    "VLLM_RPC_BASE_PATH": "/run/rpc",
    "VLLM_PP_LAYER_PARTITION": "16,16",
    "S3_ENDPOINT_URL": "https://s3.example:9000",
    "VLLM_USAGE_STATS_SERVER": "https://stats.vllm.ai",
    "CUDA_VISIBLE_DEVICES": "GPU-8f6e3c2a-1b2c-3d4e-5f6a-7b8c9d0e1f2a",
    "NCCL_IB_HCA": "=mlx5",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True,max_split_size_mb:512",
    "VLLM_SLEEP_WHEN_IDLE": "1",
    # Tokens that are text, keys that open nothing.
    "EOS_TOKEN": "<|endoftext|>",
    "STOP_TOKEN": "###",
    "SPLIT_TOKEN": "per-word",
    # What stands where a secret might, and says that there is none.
    "OPENAI_API_KEY": "EMPTY",
    "LITELLM_API_KEY": "not-needed",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer $(KEY)",
    "STARTUP": 'export VLLM_API_KEY="$(cat /run/key)"; exec serve',
    "STARTUP_2": "API_KEY=${KEY:-} exec serve",
    "PAD_TOKEN": "[PAD]",
    "CACHE_KEY": "llama-3-70b-instruct-2024",
    "SORT_KEY": "created",
    "PUBLIC_KEY": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7",
    "TWO_PASS": "yes",
    # Names of secrets whose value is none: a path, a switch, a number, another variable, what others have masked.
    "GOOGLE_APPLICATION_CREDENTIALS": "/var/run/key.json",
    "TOKEN": "/var/run/secrets/tokens/t",
    "HF_TOKEN": "",
    "CORS_ALLOW_CREDENTIALS": "true",
    "VLLM_API_KEY": "$(KEY)",
    "API_KEY": "${KEY}",
    "DB_PASSWORD": "***",
    "DATABASE_URL": "postgres://u:$(PASSWORD)@db/x",
    "PROXY": "http://u:$PASS@proxy:3128",
    "JDBC": "jdbc:x://db:5432/d",
    # What others' scanners have taken for secrets: gitleaks #877, #1219, #1587, trufflehog #894, #3856, shellclear #73.
    "HINT": "username/password combination.",
    "KEYBINDING": "key: ctrl+shift+down",
    "REMOTE": "git@github.com:a/b.git",
    "MODEL": f"qwen:v1@sha256:{'0123456789abcdef' * 4}",
    "IMAGE": f"docker.io/vllm/vllm-openai@sha256:{'0123456789abcdef' * 4}",
    "URL": "https://a.example/c?key=name",
    "README": "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=qwen,token.count=5",
}
HARMLESS_ARGUMENTS = [
    *(["--tokenizer", "/models/tokenizer"], ["--tokenizer-mode=slow"], ["--max-num-batched-tokens", "8192"]),
    *(["--hf-token"], ["--hf-token", "--trust"], ["--api-key=$(VLLM_API_KEY)"], ["--api-key-file=/keys/api"]),
    *(["--override-generation-config", '{"max_new_tokens": 5}'], ["--chat-template", "/models/key.jinja"]),
    *(["--ssl-keyfile", "/tls/key.pem"], ["sh", "-c", "TOKEN=$TOKEN exec serve --port 80"], ["-m", "sglang"]),
    *(
        ["--api-key", "EMPTY"],
        ["sh", "-c", "TOKEN=$(cat /run/secrets/token) exec vllm serve"],
        ["--tool-call-token", "TOOL"],
    ),
]


@pytest.mark.parametrize(("name", "text"), NO_SECRETS.items())
def test_what_only_sounds_like_a_secret_is_taken(name: str, text: str) -> None:
    assert not plain_secrets.looks_secret(name, text)


@pytest.mark.parametrize("arguments", HARMLESS_ARGUMENTS, ids=" ".join)
def test_an_argument_that_only_sounds_like_a_secret_is_taken(arguments: list[str]) -> None:
    assert list(plain_secrets.flagged(arguments)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("PGPASSWORD", "hunter2"), ("DB_PASSWORD", "123456"), ("hfToken", "abcdefg"), ("API_KEY_2", "zzz")),
        *(
            ("LITELLM_MASTER_KEY", "x1"),
            ("WANDB_KEY", "0123f56789abcdef0123456789abcd7f01234567"),
            ("A", JWT),
            ("A", PEM),
        ),
        ("A", base64.b64encode(PEM.encode()).decode()),
        ("A", f"https://storage.example/o?X-Goog-Signature={'0123456789abcdef' * 8}"),
        ("A", "https://blob.example/c?sv=2024&sig=Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"),
        ("A", "nvapi-" + "aB3dE5gH7jK9" * 6),
        ("A", "host=db user=u password=hunter2"),
        ("A", "Authorization: Bearer abc123def"),
        ("A", "https://0a1b2c3d4e5f6a7b8c9d0e@git.example/x"),
    ],
)
def test_a_secret_is_known_by_its_name_or_its_form(name: str, text: str) -> None:
    assert plain_secrets.looks_secret(name, text)


def test_a_message_keeps_its_words_where_a_secret_is_one_of_them() -> None:
    written = secrecy.Secrecy({"pullSecrets": {"a": {"password": "password"}}}, ["pullSecrets"])

    assert written.hide("pullSecrets.a.password: is 'password'") == "pullSecrets.a.password: is [secret]"


@pytest.mark.parametrize("values", [{"pullSecrets": MASK}, {"pullSecrets": {"private": MASK}}])
def test_a_plan_says_of_a_whole_pull_secret_that_only_the_engine_can_read_it(values: dict[str, Any]) -> None:
    (found,) = problems(gke({"qwen": MODEL}, **values), secret=["pullSecrets"])

    assert "is encrypted as a whole, which only the engine can read" in found
