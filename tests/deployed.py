"""The committed program, run whole on mocks that answer as a real run would: what a stack's outputs then are."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.settings.stack_file import find_project, read_config
from offline.recording import Recording, Resource, record
from offline.values import reveal

from .mocks import DIGEST, built

ROOT = Path(__file__).parents[1]
CLUSTER = "gcp:container/cluster:Cluster"


def deploy(
    stack: str,
    *,
    config_file: Path | None = None,
    digest: str = DIGEST,
    size_bytes: int = 1_000_000_000,
    stack_outputs: Mapping[str, Mapping[str, Any]] | None = None,
    traits: Mapping[str, Mapping[str, Any]] | None = None,
) -> Recording:
    """Run `__main__.py` for a stack, each image built with this digest and size; the working directory is the root.

    `traits` has what an image's files say, by the last part of its repository.
    """
    config = read_config(find_project(ROOT), stack, config_file)
    image = built(digest, size_bytes, traits=traits)

    def answer(resource: Resource) -> Mapping[str, Any] | None:
        if resource.type == CLUSTER:
            version = resource.inputs["minMasterVersion"]
            return {"masterVersion": version, "endpoint": "10.0.0.2", "masterAuth": {"clusterCaCertificate": "Q0E="}}
        return image(resource)

    return record(
        lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
        project="oci-model-serving",
        stack_name=stack,
        config=config.values,
        secret_keys=config.secret_keys,
        stack_outputs=stack_outputs,
        answer=answer,
    )


def outputs_of(recording: Recording) -> dict[str, Any]:
    """The outputs as `pulumi stack output --json --show-secrets` gives them."""
    return dict(reveal(recording.outputs))
