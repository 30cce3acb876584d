"""`oms up` and `oms preview`: the engine where there is one, and else, for a local stack, the same in this process."""

import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oci_model_serving.errors import InputError
from oms.convention import (
    choose_prices,
    failed,
    going_on,
    interruptible,
    json_option,
    own_command,
    prices_option,
    print_json,
    stack_option,
    tell,
)

if TYPE_CHECKING:
    from components.settings.stack_file import Project, StackConfig
    from oms.engine import Engine

_INSTALL = "install it, or let `oms engine install` fetch it"
_model = click.option(
    "--model", type=click.Path(path_type=Path), help="A folder of weights for the local stack, instead of a tiny model."
)


@click.command()
@stack_option
@_model
@click.option("--yes", is_flag=True, help="Deploy without asking; a local stack never asks.")
@click.option(
    "--plan",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    help="Do what this file of `oms preview --save-plan` says, and nothing else.",
)
@json_option
def up(*, stack: str, model: Path | None, yes: bool, plan: Path | None, as_json: bool) -> None:
    """Deploy a stack."""
    from components.settings.types import Target

    project, config, engine = _prepared(stack, model, plan="--plan" if plan else None)
    if engine:
        given = [*(["--yes"] if yes or engine.local else []), *(["--plan", str(plan)] if plan else [])]
        # On a terminal the engine shows by itself that it goes on.
        with going_on(f"pulumi up of {stack}", on_terminal=False) if engine.local else nullcontext():
            engine.run("up", *given, quiet=as_json)
        outputs = engine.outputs(secrets=False) if as_json else {}
    else:
        outputs = _in_process(project, stack, config, as_json=as_json)
    if as_json:
        print_json({"stack": stack, "outputs": outputs})
    elif config.target is Target.LOCAL:
        tell(_next(project))


@click.command()
@stack_option
@_model
@click.option(
    "--save-plan",
    type=click.Path(path_type=Path, dir_okay=False, resolve_path=True),
    help="Write what would be done into this file, for `oms up --plan`.",
)
@prices_option
@json_option
def preview(*, stack: str, model: Path | None, save_plan: Path | None, prices: Path | None, as_json: bool) -> None:
    """Show what `oms up` would do; nothing is changed.

    With --json it is the engine's own object, or, where there is no engine, that of `oms plan`.
    """
    choose_prices(prices)
    project, config, engine = _prepared(stack, model, plan="--save-plan" if save_plan else None)
    if engine:
        given = [*(["--json"] if as_json else []), *(["--save-plan", str(save_plan)] if save_plan else [])]
        engine.run("preview", *given)
        return
    from oms.plan import planned, show

    _say_in_process()
    show(planned(project, stack, config), "json" if as_json else "table")


@click.group("engine")
def engine_group() -> None:
    """Install the Pulumi CLI, which no other command fetches."""


@engine_group.command("install")
@click.option("--sha256", metavar="HEX", help="Take only an archive of this SHA-256, whatever its release lists.")
@json_option
def engine_install(*, sha256: str | None, as_json: bool) -> None:
    """Fetch the Pulumi CLI of the SDK's version.

    It goes into ~/.pulumi/versions. The archive is held to the release's list of checksums, which comes from the same
    host: that shows that the archive is whole, not who made it. --sha256 holds it to what you have established yourself
    (docs/environments.md).
    """
    from oms.engine_release import install

    with interruptible("nothing was installed"):
        installed = install(sha256)
    if as_json:
        print_json(asdict(installed))
    else:
        tell(f"installed {installed.path}, from an archive of sha256 {installed.sha256}")


def _prepared(stack: str, model: Path | None, *, plan: str | None) -> "tuple[Project, StackConfig, Engine | None]":
    """The project, what the stack says, and the engine where there is one; a local stack's weights are in place."""
    with going_on(f"reading stack {stack}"):
        from oms.local_model import prepared

        project, config = prepared(stack, given=model, anew=True)
        return project, config, _engine(project, stack, config, plan=plan)


def _next(project: "Project") -> str:
    """Three commands to go on with, as they are written in the folder where this one was started."""
    from components.settings.places import LOCAL

    oms = own_command(project)
    layouts = sorted((project.folder / LOCAL / "images").glob("*/index.json"))
    commands = {f"{oms} image inspect oci:{os.path.relpath(one.parent)}": "look at the image" for one in layouts[:1]}
    if "dev" in project.stacks():
        commands[f"{oms} plan --stack dev"] = "serve one on a cluster: what that makes and costs (docs/runbook.md)"
    commands[f"{oms} init"] = "write a stack of your own"
    width = max(map(len, commands))
    return "\n".join(["Next:", *(f"  {command:{width}}  # {what}" for command, what in commands.items())])


def _engine(project: "Project", stack: str, config: "StackConfig", *, plan: str | None) -> "Engine | None":
    from oms import engine

    if path := engine.find():
        return engine.Engine.of(path, project, stack, config)
    if plan:
        raise InputError(f"{plan} needs the Pulumi CLI, and there is none on PATH: {_INSTALL}")
    return None


def _say_in_process() -> None:
    tell(f"no Pulumi CLI on PATH: running in-process, no state is recorded; for the engine, {_INSTALL}")


def _in_process(project: "Project", stack: str, config: "StackConfig", *, as_json: bool) -> dict[str, object]:
    from components.settings.types import Target

    with going_on("loading the program"):
        from offline.manifests import write
        from oms.plan import planned, show

    if config.target is not Target.LOCAL:
        raise InputError(
            f"stack {stack!r} lives on Google Cloud, which needs the Pulumi CLI, and there is none on PATH: "
            f"{_INSTALL}, or look at the plan with `oms preview --stack {stack}`"
        )
    _say_in_process()
    with (
        interruptible("no other build is started; the same command again goes on"),
        going_on("planning and building", on_terminal=False),  # there the packer's bars move
    ):
        plan = planned(project, stack, config, build=True)
    if not as_json:
        show(plan, "table")
    manifests = project.folder / ".local" / "manifests"
    tell(f"wrote {len(write(plan, manifests))} manifests to {manifests}")
    if config.kubeconfig:
        tell(
            f"error: nothing was deployed to the cluster of {config.kubeconfig}: that needs the Pulumi CLI: "
            f"{_INSTALL}, or apply the manifests yourself"
        )
        raise failed()
    outputs: dict[str, object] = plan.data()["outputs"]
    return outputs
