"""The JSON Schema of a stack's file, held against the files that there are."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from components.settings.reader import KEYS
from oci_model_serving.outputs import ContractError, parse
from oms.main import main
from oms.schema import EXAMPLES
from tests.components.settings.reading import read
from tests.deployed import deploy
from tests.mocks import plain

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("Pulumi.*.yaml"), *ROOT.glob("examples/*/Pulumi.*.yaml")])
PREFIX = "oci-model-serving:"
COMMITTED = ROOT / "docs" / "stack.schema.json"


@pytest.fixture
def schema(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema"]) == 0
    read: dict[str, Any] = json.loads(capsys.readouterr().out)
    return read


@pytest.fixture
def outputs(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["schema", "outputs"]) == 0
    read: dict[str, Any] = json.loads(capsys.readouterr().out)
    return read


def errors(schema: dict[str, Any], value: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]


def problems(schema: dict[str, Any], config: dict[str, Any]) -> list[str]:
    return errors(schema, {"config": config})


def test_it_is_a_schema_of_the_draft_that_it_names(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_committed_stacks_are_of_it(schema: dict[str, Any], file: Path) -> None:
    config = yaml.safe_load(file.read_text())["config"]
    assert problems(schema, config) == []
    assert problems(schema, {key.removeprefix(PREFIX): value for key, value in config.items()}) == []


def test_the_committed_schema_is_the_one_that_the_program_has(schema: dict[str, Any]) -> None:
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == schema, "run `make docs`"


def test_the_outputs_of_the_committed_stacks_are_of_their_schema(outputs: dict[str, Any]) -> None:
    dev = deploy("dev").outputs
    for stack in (dev, deploy("prod", stack_outputs={"acme/oci-model-serving/dev": dev}).outputs):
        # As a program of another language reads them.
        assert errors(outputs, json.loads(json.dumps(plain(stack)))) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image", "r.example/m:latest"),
        ("image", "r.example/m:1@sha256:short"),
        ("digest", "latest"),
        ("size_bytes", -1),
        ("url", "ftp://x"),
        ("delivery", "scp"),
    ],
)
def test_outputs_that_the_reader_refuses_are_not_of_their_schema(outputs: dict[str, Any], key: str, value: Any) -> None:
    stack = plain(deploy("dev").outputs)
    next(iter(stack["models"].values()))[key] = value

    assert errors(outputs, stack)
    with pytest.raises(ContractError):
        parse(stack)


def test_the_committed_schema_of_the_outputs_is_the_one_that_the_program_has(outputs: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(outputs)
    committed = json.loads((ROOT / "docs" / "outputs.schema.json").read_text(encoding="utf-8"))
    assert committed == outputs, "run `make docs`"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_committed_stack_names_the_schema_to_editors(file: Path) -> None:
    first, *_ = file.read_text(encoding="utf-8").splitlines()
    _, _, named = first.partition("# yaml-language-server: $schema=")
    assert (file.parent / named).resolve() == COMMITTED


def test_the_examples_together_are_a_stack_that_the_program_takes(schema: dict[str, Any]) -> None:
    assert set(EXAMPLES) <= set(KEYS)
    assert problems(schema, dict(EXAMPLES)) == []
    read({key: value for key, value in EXAMPLES.items() if key not in {"pullSecrets", "hubToken"}})


def test_every_setting_below_a_key_says_what_it_means(schema: dict[str, Any]) -> None:
    for name, kind in schema["$defs"].items():
        if kind.get("type") == "object":
            assert kind.get("description"), name
        for key, one in kind.get("properties", {}).items():
            parts = [one, *one.get("anyOf", [])]
            assert any(part.get("description") or part.get("$ref") for part in parts), f"{name}.{key}"


def test_every_key_is_there_with_its_camel_case_and_its_descriptions(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]["config"]["properties"]) == {*KEYS, *(PREFIX + key for key in KEYS)}
    pool = schema["$defs"]["NodePoolSettings"]["properties"]
    assert "bootDisk" in pool
    assert pool["accelerator"]["description"]


@pytest.mark.parametrize(
    "config",
    [
        {"target": "GKE"},
        {f"{PREFIX}modelz": {}},
        {"modelz": {}},
        {f"{PREFIX}nodePools": {"l4": {"accelerator": "nvidia-l4", "boot_disk": {}}}},
        {f"{PREFIX}models": {"m": {"source": 3}}},
    ],
)
def test_what_the_program_refuses_is_refused(schema: dict[str, Any], config: dict[str, Any]) -> None:
    assert problems(schema, config)


def test_secrets_are_the_engines_ciphertext_and_other_namespaces_are_free(schema: dict[str, Any]) -> None:
    secret = {"secure": "v1:abc"}
    pulls = {"private": {"server": "r.example", "username": "u", "password": secret}}
    assert problems(schema, {f"{PREFIX}pullSecrets": pulls, "gcp:project": "demo"}) == []
    assert problems(schema, {f"{PREFIX}pullSecrets": secret}) == []
