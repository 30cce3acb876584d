"""No secret of a stack is in anything that is said or written without the engine, in whatever form."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import commands
from components.settings.reader import SettingsError
from components.settings.stack_file import Project, StackConfig, find_project
from offline.comment import as_markdown, as_text
from offline.diff import compare
from offline.manifests import write
from offline.plan import Plan
from offline.program import Program
from offline.values import KnownAfter, dumps, reveal, transform
from oms.plan import show
from policy.rules import check
from tests.canary import files, leaks
from tests.mocks import built
from tests.serving import IMAGE, NAMESPACE, ROOT, gke

SECRETS = {
    "password of a pull secret": 'canary/"of"+a registry&',
    "user of a pull secret": "canary-user-of-a-registry",
    "token of the hub": "canary-of-the-hub",
    "variable of a server": "canary=of 'a' $server",
    "Google's access token": "canary-of-google-access",
}
PASSWORD, USER, HUB_TOKEN, SERVER_KEY, ACCESS_TOKEN = SECRETS.values()
HUB = "hf://org/model@7ae557604adf67be50417f59c2c2f167def9a775"
MODEL: dict[str, Any] = {
    "nodePool": "l4",
    "secretEnv": {"VLLM_API_KEY": SERVER_KEY},
    "args": ["--api-key=$(VLLM_API_KEY)"],
}
STACK = gke(
    {
        "served": {**MODEL, "digest": IMAGE},
        "kube": {**MODEL, "digest": IMAGE, "delivery": "kubeai"},
        "built": {**MODEL, "source": HUB, "sizeGb": 1},
    },
    pullSecrets={"private": {"server": "registry.example", "username": USER, "password": PASSWORD}},
    hubToken=HUB_TOKEN,
)


def config(stack: dict[str, Any]) -> StackConfig:
    """A stack's settings with the secrets in the clear, as the engine hands them over."""
    texts = {
        f"{NAMESPACE}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in stack.items()
    }
    google = {"gcp:project": "demo", "gcp:region": "us-central1", "gcp:accessToken": ACCESS_TOKEN}
    secret = [f"{NAMESPACE}:{key}" for key in ("pullSecrets", "hubToken", "models")]
    return StackConfig({**texts, **google}, frozenset([*secret, "gcp:accessToken"]))


@pytest.fixture(scope="module")
def project() -> Project:
    return find_project(ROOT)


@pytest.fixture(scope="module")
def plans(project: Project) -> list[Plan]:
    """Two plans of the stack, between which every secret changes."""
    other = json.loads(json.dumps(STACK).replace("canary", "another"))
    return [Program(project).plan("canary", config(stack), answer=built()) for stack in (STACK, other)]


def texts(plans: list[Plan], folder: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[tuple[str, str]]:
    for form in ("table", "json", "yaml", "mermaid", "svg"):
        show(plans[0], form)
        yield form, "".join(capsys.readouterr())
    write(plans[0], folder)
    yield from files(folder)
    for plan in plans:
        yield "messages", repr(plan.recording.messages)
        yield "shown by a failed assertion", repr(plan) + repr(plan.recording.resources) + repr(plan.recording.outputs)
        yield "policy", repr(check(plan.data(), stack="canary"))
    difference = compare(*(json.loads(dumps(plan.data())) for plan in plans))
    yield "diff", as_text(difference) + as_markdown(difference, "canary") + dumps(difference.data())


def test_no_plan_manifest_diff_or_message_holds_a_secret(
    plans: list[Plan], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = list(texts(plans, tmp_path, capsys))

    assert any("vllm" in text and "Secret" in text for _, text in found)
    assert [(name, leaks(text, SECRETS)) for name, text in found if leaks(text, SECRETS)] == []


def test_each_secret_is_there_for_the_one_who_needs_it(plans: list[Plan]) -> None:
    inside = json.dumps([_revealed(one.inputs) for one in plans[0].recording.resources])

    assert leaks(inside, SECRETS) == [name for name in SECRETS if name != "Google's access token"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"models": {"served": {**MODEL, "digest": IMAGE, "secretEnv": {"1A": SERVER_KEY}}}},
        {"models": {"served": {**MODEL, "digest": IMAGE, "env": {"A": SERVER_KEY, "VLLM_API_KEY": SERVER_KEY}}}},
        {
            "models": {
                "served": {**MODEL, "digest": IMAGE, "args": [f"--api-key={SERVER_KEY}", f"--model={SERVER_KEY}"]}
            }
        },
        {"models": {"served": {**MODEL, "digest": IMAGE, "labels": {"team": SERVER_KEY}}}},
        {"pullSecrets": {"private": {"server": "registry.example", "username": USER, "password": [PASSWORD]}}},
        {"pullSecrets": {"private": PASSWORD}},
        {"hubToken": f"{HUB_TOKEN} {HUB_TOKEN}"},
        {"hubToken": [HUB_TOKEN]},
    ],
    ids=str,
)
def test_no_error_repeats_a_secret(wrong: dict[str, Any], project: Project) -> None:
    with pytest.raises(SettingsError) as caught:
        Program(project).plan("canary", config({**STACK, **wrong}), answer=built())

    assert leaks(str(caught.value) + repr(caught.value), SECRETS) == []


def test_a_command_of_ours_gets_nothing_of_the_engines_and_its_secret_is_no_argument(plans: list[Plan]) -> None:
    given = {"PULUMI_CONFIG_PASSPHRASE": "canary", "PULUMI_ACCESS_TOKEN": "canary", "PULUMI_CONFIG": "{}", "HOME": "/h"}

    assert commands.inherited(given) == {"HOME": "/h"}
    lines = [str(one.inputs.get("create")) for one in plans[0].recording.resources if one.runs]
    assert len(lines) >= 3
    assert [line for line in lines if leaks(line, SECRETS)] == []


def _revealed(inputs: Any) -> Any:
    return transform(reveal(inputs), lambda leaf: str(leaf) if isinstance(leaf, KnownAfter) else leaf)
