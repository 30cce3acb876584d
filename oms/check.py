"""`oms check`, `coldstart`, `pause` and `resume`: the steps of `smoke` on a deployed stack, and their report."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import InputError
from oms.convention import failed, interruptible, json_option, stack_option, tell

if TYPE_CHECKING:
    from oci_model_serving.outputs import ModelOutput
    from smoke.drift import Wanted

_OPTIONS = (
    stack_option,
    click.option(
        "--outputs",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read the stack's outputs from this JSON file instead of asking the engine.",
    ),
    click.option("--model", multiple=True, metavar="KEY", help="Only this model; may be repeated."),
    click.option("--only", multiple=True, metavar="STEP", help="Only this step; may be repeated."),
    click.option(
        "--on-demand",
        multiple=True,
        metavar="WHAT",
        help="Also run what changes or costs something: scratch (makes and deletes a namespace), connection (tries the "
        "hub from inside of a pod), drift (holds the cluster to the settings by dry runs), coldstart (pauses and "
        "resumes the models).",
    ),
    click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Instead of the stack's own, else KUBECONFIG's, cluster.",
    ),
    click.option("--address", metavar="HOST:PORT", help="Where the gateway is reached from here."),
    click.option(
        "--timeout",
        type=float,
        default=1800.0,
        show_default=True,
        metavar="S",
        help="Seconds to wait for pods to come or go.",
    ),
    click.option("--scratch-image", metavar="REF", help="scratch: the small image to deliver, by digest."),
    click.option(
        "--scratch-server",
        metavar="IMAGE",
        help="scratch: an image with sh, find and stat that waits for the files  [default: the image itself].",
    ),
    json_option,
)


def _command(action: str, text: str) -> click.Command:
    def run(**given: Any) -> None:
        _run(action, **given)

    command: Callable[..., None] = run
    for option in reversed(_OPTIONS):
        command = option(command)
    return click.command(action, help=text)(command)


check = _command(
    "check",
    "Check a deployed stack, step by step as the runbook.\n\n"
    "Steps: preflight, scratch, deployed, validate, egress, drift, coldstart.",
)
pause = _command("pause", "Take the models' pods away, and with them their nodes.")
resume = _command("resume", "Bring the models' pods back.")
coldstart = _command("coldstart", "Measure a cold start: pause, resume, and where the time goes.")


def _run(
    action: str,
    *,
    stack: str,
    outputs: Path | None,
    model: tuple[str, ...],
    kubeconfig: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    from oms.outputs import read_outputs, usable_kubeconfig
    from smoke import steps
    from smoke.checks import Check, all_hold
    from smoke.coldstart import Measured
    from smoke.report import Report
    from smoke.report import as_json as as_object
    from smoke.stack import select
    from watch.kube import KubeApi

    options = steps.Options(action, **given)
    problems = [*_unknown("--only", options.only, steps.STEPS)]
    problems += _unknown("--on-demand", options.on_demand, steps.ON_DEMAND)
    problems += steps.problems(options)
    if kubeconfig and not kubeconfig.is_file():
        problems.append(f"--kubeconfig {kubeconfig}: there is no such file")
    if problems:
        raise InputError(*problems)
    report = Report(sys.stdout, sys.stderr, quiet=as_json)
    checks: list[Check] = []
    measured = Measured()
    found = read_outputs(stack, outputs)
    models = select(found, list(model))

    def wanted() -> "list[Wanted]":
        from oms.wanted import wanted_objects

        return wanted_objects(stack, found, [one.output for one in models])

    with interruptible(steps.after_interrupt(action)):
        api = KubeApi(kubeconfig or usable_kubeconfig(found.kubeconfig))
        try:
            for one in steps.checks(options, api, found, models, report, measured, wanted):
                report.told()
                checks.append(one)
                report.check(one)
        finally:
            api.close()
    if action in {"pause", "resume"}:
        _record(action, stack, [one.output for one in models], by_engine=outputs is None)
    report.coldstarts(measured)
    report.closing(checks)
    if as_json:
        print(as_object(stack, checks, measured))
    if not all_hold(checks):
        raise failed()


def _record(action: str, stack: str, models: "list[ModelOutput]", *, by_engine: bool) -> None:
    """Have the stack's state know what was done to the cluster: the next `pulumi up` compares with nothing else.

    Raises:
        EngineFailedError: the engine could not be told.
    """
    from oms.engine import EngineFailedError
    from oms.outputs import engine_of

    undone = f"the next `pulumi up --refresh` of stack {stack} brings back what the settings say"
    if not by_engine:
        tell(f"{undone}; one without --refresh does not know of it, as --outputs FILE stands in for the engine")
        return
    engine = engine_of(stack)
    urns = f"urn:pulumi:{stack.rpartition('/')[2]}::{engine.project.name}::**kubernetes"
    kinds = [(model.serving.platform, model.name) for model in models]
    try:
        engine.refresh([f"{urns}:{kind.api_version}:{kind.kind}::{name}" for kind, name in kinds])
    except EngineFailedError as error:
        raise EngineFailedError(
            f"{error}; the {action} holds, but the stack's state does not know of it: {undone}"
        ) from None
    tell(f"the stack's state knows of it: the next `pulumi up` of {stack} brings back what the settings say")


def _unknown(option: str, said: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
    return [f"{option} {word}: write one of {', '.join(known)}" for word in said if word not in known]
