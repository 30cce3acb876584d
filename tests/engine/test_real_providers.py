"""Where Pulumi's own providers are on PATH: the local stack lives on them, and ours answers as they do.

Those of Google and of Docker, and commands that ask the hub or a cluster, need what is not on this machine.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import json_format  # type: ignore[import-untyped]
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from components.settings.stack_file import find_project
from offline import Program
from tests.engine import stacks
from tests.engine.ground import module_code
from tests.engine.provider import command, wire
from tests.engine.provider.switches import FOLDER

NAMES = ("command", "kubernetes")
REAL = {name: shutil.which(f"pulumi-resource-{name}") for name in NAMES}
MISSING = [f"pulumi-resource-{name}" for name, path in REAL.items() if path is None]
pytestmark = [
    *stacks.ENGINE,
    pytest.mark.xdist_group("engine-real"),
    pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {', '.join(MISSING)}"),
]

URN = f"urn:pulumi:dev::project::{command.TYPE}::step"
SECRET = {wire._SIGNATURE: wire._SECRET, "value": "hello\n"}
INPUTS: dict[str, Any] = {
    "create": 'cat; echo "$A"; echo to stderr >&2',
    "stdin": "hello\n",
    "environment": {"A": "1"},
    "triggers": ["one"],
    "logging": "stderr",
    "addPreviousOutputInEnv": False,
}
STATE = {**INPUTS, "stdout": "hello\n1", "stderr": "to stderr"}
# The real one takes it for a change that a text becomes a secret.
SECRET_ONE = "secret stdin"
UNKNOWN = "unknown trigger"
OTHERS: dict[str, dict[str, Any]] = {
    "environment": {**INPUTS, "environment": {"A": "1", "B": "2"}},
    "command": {**INPUTS, "create": "echo other"},
    "trigger": {**INPUTS, "triggers": ["two"]},
    UNKNOWN: {**INPUTS, "triggers": [wire.UNKNOWN]},
    "one more trigger": {**INPUTS, "triggers": ["one", "two"]},
    "no triggers": {key: value for key, value in INPUTS.items() if key != "triggers"},
    "no stdin": {key: value for key, value in INPUTS.items() if key != "stdin"},
    SECRET_ONE: {**INPUTS, "stdin": SECRET},
    "update": {**INPUTS, "update": "echo $PULUMI_COMMAND_STDOUT", "addPreviousOutputInEnv": True},
    "failing": {"create": "echo why >&2; exit 3"},
    "interpreter": {"create": "print(1)", "interpreter": ["python3", "-c"], "dir": "/"},
}


def test_the_local_stack_lives_on_the_real_providers_as_on_ours(tmp_path: Path) -> None:
    with stacks.ground(tmp_path / "ground") as ground:
        for name, path in REAL.items():
            own = ground.folder / "bin" / f"pulumi-resource-{name}"
            own.unlink()
            own.symlink_to(str(path))
        local = ground.stack("local")
        planned = Program(find_project(ground.project)).plan("local")

        made = {urn.split("::", 3)[3] for operation, urn in local.up().well().changes if operation == "create"}
        assert {one.name for one in planned.resources} <= made
        assert local.up().well().changes == []
        rendered = list((ground.project / ".local" / "manifests").rglob("*.yaml"))
        assert len(rendered) >= len([one for one in planned.resources if one.type.startswith("kubernetes:")])
        local.destroy().well()
        assert local.resources() == []
        assert ground.calls() == []


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, Any], tuple[Any, Any]]]:
    """Asks the real provider of commands and ours the same, and gives both answers."""
    folder = tmp_path_factory.mktemp("command")
    ours = [sys.executable, "-c", module_code("tests.engine.provider"), "command"]
    lines = [[str(REAL["command"]), "127.0.0.1:1"], ours]
    started = [
        subprocess.Popen(line, cwd=folder, env={FOLDER: str(folder), "PATH": "/usr/bin:/bin"}, stdout=subprocess.PIPE)
        for line in lines
    ]
    stubs = []
    for process in started:
        assert process.stdout is not None
        channel = grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}")
        stubs.append(provider_pb2_grpc.ResourceProviderStub(channel))
        stubs[-1].Handshake(provider_pb2.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))
        stubs[-1].Configure(provider_pb2.ConfigureRequest(acceptSecrets=True, sends_old_inputs=True))

    def ask(method: str, request: Any) -> tuple[Any, Any]:
        first, second = (_answer(stub, method, request) for stub in stubs)
        return first, second

    yield ask
    for process in started:
        process.kill()
        process.wait()


def _answer(stub: Any, method: str, request: Any) -> Any:
    try:
        said = json_format.MessageToDict(getattr(stub, method)(request))
    except grpc.RpcError as error:
        return error.details()
    # Chance.
    said.pop("id", None)
    return said


@pytest.mark.parametrize(
    ("other", "preview"),
    [(name, preview) for name in OTHERS for preview in (True, False) if preview or name != UNKNOWN],
)
def test_our_command_is_created_and_updated_as_the_real_one_is(
    both: Callable[[str, Any], tuple[Any, Any]], other: str, preview: bool
) -> None:
    news = wire.written(OTHERS[other])
    create = provider_pb2.CreateRequest(urn=URN, name="step", type=command.TYPE, properties=news, preview=preview)
    update = provider_pb2.UpdateRequest(
        id="step", urn=URN, name="step", type=command.TYPE, olds=wire.written(STATE), news=news,
        old_inputs=wire.written(INPUTS), preview=preview,
    )  # fmt: skip

    for method, request in (("Create", create), ("Update", update)):
        real, ours = both(method, request)
        assert json.dumps(ours, sort_keys=True) == json.dumps(real, sort_keys=True)


@pytest.mark.parametrize("other", ["nothing", *(name for name in OTHERS if name != SECRET_ONE)])
def test_our_command_is_told_apart_as_the_real_one_is(both: Callable[[str, Any], tuple[Any, Any]], other: str) -> None:
    request = provider_pb2.DiffRequest(
        id="step", urn=URN, name="step", type=command.TYPE, olds=wire.written(STATE),
        news=wire.written(OTHERS.get(other, INPUTS)), old_inputs=wire.written(INPUTS),
    )  # fmt: skip

    real, ours = both("Diff", request)
    for said in (real, ours):
        said.get("diffs", []).sort()
    assert ours == real
    assert (real["changes"] == "DIFF_NONE") is (other == "nothing")
