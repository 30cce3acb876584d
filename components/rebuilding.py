"""What a build hangs on: the fingerprint of its source, and for states of an earlier version what they hold.

A program is told nothing of its state; the engine hands it out all the same, by the functions that stand behind stack
references (pulumi pkg/resource/deploy/builtins.go). Where it does not, nothing is known, and a plan may show more work
than is needed.
"""

import asyncio
import contextvars
import threading
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.runtime import invoke_async

import modelimage
from oci_model_serving.errors import InputError, OmsError

_OUTPUTS = "pulumi:pulumi:readStackOutputs"
_RESOURCES = "pulumi:pulumi:readStackResourceOutputs"
_COMMAND = "command:local:Command"


class SourceError(OmsError, pulumi.RunError):
    """A folder of weights cannot be read to its end."""


def fingerprint(source: str, command: str) -> pulumi.Input[str]:
    """What tells that the source of the build `command` (a resource's name) has changed.

    Up to version 0.1.0 that was a hash of large files' time stamps. A state that holds the one which the folder still
    has keeps it: nothing has changed for it, and to build again would be a rollout.

    Raises:
        InputError: the source is no source.
    """
    former = modelimage.former_fingerprint(source)
    if former is None:
        return modelimage.fingerprint(source)
    context = contextvars.copy_context()  # the reading has threads of its own, which know nothing of the engine
    stop = threading.Event()

    def tell(text: str) -> None:
        context.copy().run(pulumi.log.info, text)

    async def found() -> str:
        if former in await triggers(command):
            return former
        try:
            return await asyncio.to_thread(modelimage.fingerprint, source, tell, stop)
        except InputError as error:
            raise SourceError(str(error)) from error
        finally:
            stop.set()  # a run that is interrupted would wait for its threads

    return pulumi.Output.from_input(found())


async def triggers(command: str) -> Sequence[Any]:
    """What a command was last run for; empty where the state has none of the name, or the engine does not tell."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    try:
        # A stack that was never up has no state at all, which the other function takes for granted.
        if not (await invoke_async(_OUTPUTS, {"name": stack}))["outputs"]:
            return ()
        resources = (await invoke_async(_RESOURCES, {"stackName": stack}))["outputs"]
    except Exception as error:  # noqa: BLE001 - what the engine answers with is a plain Exception
        pulumi.log.debug(f"the state of {stack} is not told: {error}")
        return ()
    for urn, resource in resources.items():
        _, _, types, name = urn.split("::", 3)
        if (types.rpartition("$")[2], name) == (_COMMAND, command):
            return resource["outputs"].get("triggers") or ()
    return ()
