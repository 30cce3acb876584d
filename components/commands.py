"""The project's own commands: how Pulumi's resources and other rooms start one, and how its text is read back.

A command is started by the name of its module with the interpreter that runs the program, so that it has the same
libraries. Nothing else in the project starts a module by its name.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_command as command

IMAGE = "modelimage"
"""Packs, copies, tags and inspects images. Its name is part of users' states: another one would build all again."""
ROLLOUT = "watch.rollout"
"""Waits for the pods of a digest."""
ADMITTED = "watch.admitted"
"""Waits until the API servers take what was just allowed."""
PLAN = "offline"
"""Plans a stack; the name that every revision of this project answers to."""
KUBECONFIG = "OMS_KUBECONFIG"
"""The variable with a kubeconfig's text, which is a secret and so no argument; or with its path."""
_OURS = frozenset({IMAGE, ROLLOUT, ADMITTED, PLAN, "smoke.rollout"})


@dataclass(frozen=True)
class Own:
    """A command of ours as it was read back from a text: its module and its arguments."""

    module: str
    arguments: list[str]


def python() -> str:
    """The interpreter, relative to the project where it can be: the same text on every machine, so no needless diff."""
    executable = Path(sys.executable)
    try:
        return executable.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return executable.as_posix()


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a command of ours gets of an environment: nothing that opens the engine's state, nor what it decrypts."""
    return {name: value for name, value in environment.items() if not name.startswith("PULUMI_")}


def words(module: str, *arguments: object) -> list[str]:
    """The argument list that starts a command of ours."""
    return [python(), "-m", module, *map(str, arguments)]


def read(line: object) -> Own | None:
    """The command of ours that a text starts, whatever the interpreter and its place; None for anything else."""
    try:
        said = shlex.split(line) if isinstance(line, str) else []
    except ValueError:
        return None
    if len(said) < 3 or said[1] != "-m" or said[2] not in _OURS:
        return None
    return Own(said[2], said[3:])


def local(
    name: str,
    module: str,
    arguments: Sequence[pulumi.Input[object]],
    *,
    triggers: Sequence[pulumi.Input[object]],
    opts: pulumi.ResourceOptions,
    stdin: pulumi.Input[str] | None = None,
    environment: Mapping[str, pulumi.Input[str]] | None = None,
) -> command.local.Command:
    """Run a command of ours as a resource, again whenever a trigger changes.

    Args:
        name: of the resource.
        module: one of this module's names.
        arguments: of the command; credentials never are among them, they come by the environment.
        triggers: values whose change runs it again.
        opts: resource options.
        stdin: text for its standard input.
        environment: variables beside those of the engine.
    """
    line = pulumi.Output.all(*arguments).apply(lambda said: shlex.join(words(module, *said)))
    return command.local.Command(
        name,
        create=line,
        stdin=stdin,
        environment=environment,
        triggers=list(triggers),
        logging=command.local.Logging.STDERR,
        # Progress and the JSON of the last run would otherwise reach the next one's environment.
        add_previous_output_in_env=False,
        opts=opts,
    )


def removal(name: str, folder: str, opts: pulumi.ResourceOptions) -> command.local.Command:
    """Remove a folder of this machine, and the one around it once that is empty, when the resource goes.

    It is a resource of its own, since the provider runs `create` again for any other change of a command. It runs in
    the shell alone: a destroy must not fail where the interpreter is gone.
    """
    around = shlex.join(["rmdir", "--", str(Path(folder).parent)])
    return command.local.Command(
        name,
        delete=f"{shlex.join(['rm', '-rf', '--', folder])} && {{ {around} 2>/dev/null || true; }}",
        logging=command.local.Logging.STDERR,
        add_previous_output_in_env=False,
        opts=opts,
    )
