"""What builder docker needs beside its resource: a context that is there, a tag to push by, and credentials."""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi

from components import commands
from components.google import sdk as gcp
from components.settings.images import StackImage
from modelimage.variables import HUB_TOKEN
from oci_model_serving.reference import is_google


def push_tag(*parts: str) -> str:
    """Name what the image is made of: in a repository of immutable tags, other content needs another tag."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def present(path: str, words: Sequence[str], model: StackImage) -> pulumi.Input[str]:
    """The context's folder, made again where the state knows it but this machine does not.

    The Docker provider hashes the folder in every preview and update, and fails when it is not there.
    """
    if Path(path, "Dockerfile").is_file():
        return path
    if not pulumi.runtime.is_dry_run():
        return prepare(path, words, model)
    pulumi.log.warn(
        f"the Docker context of {model.key} is not on this machine, so this preview cannot tell whether the image "
        "changes; builder direct needs no context"
    )
    loop = asyncio.get_running_loop()
    nothing, unknown = loop.create_future(), loop.create_future()
    nothing.set_result("")
    unknown.set_result(False)
    return pulumi.Output(set(), nothing, unknown)


async def prepare(path: str, words: Sequence[str], model: StackImage) -> str:
    """Write the context, and return its folder; its reason is told where that fails."""
    token = {HUB_TOKEN: model.token.get_secret_value()} if model.token else {}
    process = await asyncio.create_subprocess_exec(
        *commands.words(commands.IMAGE, *words, "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        env={**commands.inherited(os.environ), **token},
    )
    if await process.wait() != 0:
        raise pulumi.RunError(f"the Docker context of {model.key} could not be prepared: its reason is above")
    return path


def push_credentials(repository: pulumi.Output[str]) -> pulumi.Output[Any]:
    """Short-lived credentials for Google's registries; other registries use Docker's own configuration."""

    def credentials(name: str) -> Any:
        host = name.partition("/")[0]
        if not is_google(host):
            return {"server": host}
        token = gcp.organizations.get_client_config_output().access_token
        return {"server": host, "username": "oauth2accesstoken", "password": pulumi.Output.secret(token)}

    return repository.apply(credentials)
