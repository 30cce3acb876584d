"""What the engine tells of the stack's own state, and what becomes of a folder that cannot be read to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

import modelimage
from components import rebuilding
from oci_model_serving.errors import InputError
from tests.mocks import record

URN = "urn:pulumi:s::p::oci-model-serving:index:ModelImage$command:local:Command::m-build"


def told(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[Any]:
    """What `triggers` makes of the engine's answers, by the last part of the functions' names."""
    asked: list[str] = []

    async def invoke(token: str, _: Any) -> Any:
        asked.append(token)
        answer = answers[token.rpartition("readStack")[2]]
        if isinstance(answer, Exception):
            raise answer
        return {"outputs": answer}

    monkeypatch.setattr(rebuilding, "invoke_async", invoke)
    found: list[Any] = []

    def program() -> None:
        async def ask() -> None:
            found.extend(await rebuilding.triggers("m-build"))

        pulumi.export("done", pulumi.Output.from_input(ask()))

    record(program)
    return [*found, *asked]


def test_the_triggers_are_those_of_the_command_and_of_no_other_resource_of_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resources = {
        "urn:pulumi:s::p::kubernetes:core/v1:Secret::m-build": {"type": "x", "outputs": {"triggers": ["other"]}},
        f"{URN}-2": {"type": "command:local:Command", "outputs": {"triggers": ["longer"]}},
        URN: {"type": "command:local:Command", "outputs": {"triggers": ["one", "two"]}},
    }
    assert told(monkeypatch, Outputs={"a": 1}, ResourceOutputs=resources)[:2] == ["one", "two"]


def test_a_stack_that_was_never_up_is_asked_for_no_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, Outputs={}) == ["pulumi:pulumi:readStackOutputs"]


@pytest.mark.parametrize("resources", [Exception("no backend"), {}, {URN: {"outputs": {}}}])
def test_where_the_engine_tells_nothing_nothing_is_known(monkeypatch: pytest.MonkeyPatch, resources: Any) -> None:
    assert told(monkeypatch, Outputs={"a": 1}, ResourceOutputs=resources)[:-2] == []


def test_a_folder_that_is_being_written_ends_the_plan_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(2 << 20))

    stops: list[Any] = []

    def failing(_: str, __: object, stop: Any) -> str:
        stops.append(stop)
        raise InputError("changed: run again")

    monkeypatch.setattr(modelimage, "fingerprint", failing)

    def program() -> None:
        pulumi.export("trigger", rebuilding.fingerprint(str(tmp_path), "m-build"))

    with pytest.raises(rebuilding.SourceError, match="changed: run again"):
        record(program)
    assert issubclass(rebuilding.SourceError, pulumi.RunError)
    assert [stop.is_set() for stop in stops] == [True]  # its threads end with it
