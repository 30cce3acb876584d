"""The committed stacks on a ground, and what stands for their far ends: Hugging Face, registries, a cluster's pods."""

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelimage import write_tiny_model
from tests.engine.ground import NEEDS_PULUMI, Ground, Stack
from tests.engine.provider.switches import Switches
from tests.mocks import DIGEST

COMMITTED = ("dev", "prod", "local")
"""In the order in which they can be deployed: prod takes dev's image."""
ENGINE = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_gcp"),
    NEEDS_PULUMI,
]
"""The marks of a module that runs the engine."""
_CONTEXT = ".local/contexts/qwen2-5-0-5b-instruct"
# As the packer says of a folder of safetensors, which is what a plan presumes.
_SAID = {"digest": DIGEST, "reference": f"registry.example/models@{DIGEST}", "size_bytes": 1_000_000, "streams": True}
_IMAGE = json.dumps(_SAID)
_PREPARED = json.dumps({"context": _CONTEXT, "fingerprint": "ab" * 32, "size_bytes": 1_000_000})
_PREPARE = f"mkdir -p {_CONTEXT} && echo FROM scratch >{_CONTEXT}/Dockerfile"
FAR = {
    "*-context": f"{_PREPARE} && echo {shlex.quote(_PREPARED)}",
    "*-seal": f"echo {shlex.quote(_IMAGE)}",
    "*-copy": f"echo {shlex.quote(_IMAGE)}",
    "*-rollout": "cat",
    "*-admitted": "cat",
}
"""What is run in place of the commands that ask the hub, Google's registries or a cluster; others run themselves."""


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """A ground on which each committed stack can be deployed, in a folder that is made."""
    made = Ground(folder)
    local = made.project / ".local"
    local.mkdir()
    write_tiny_model(str(local / "model"))
    for path in (local / "model").rglob("*"):
        # The state of a stack knows its weights by their time as well.
        os.utime(path, (0, 0))
    # What dev's first `up` leaves on the machine, and a state that is taken over expects there.
    subprocess.run(["/bin/sh", "-c", _PREPARE], cwd=made.project, check=True)
    made.switch(Switches(instead=FAR))
    with made.served():
        yield made


def deployed(on: Ground, *names: str) -> list[Stack]:
    """Stacks that are up."""
    stacks = [on.stack(name) for name in names]
    for stack in stacks:
        stack.up().well()
    return stacks
