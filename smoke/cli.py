"""The command line: `python -m smoke [coldstart | pause | resume] --stack NAME`.

Results go to stdout (one JSON object with `--json`), progress and errors to stderr. Exit codes: 0 all that ran held,
1 something did not (or nothing ran), 2 bad arguments or no stack, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from components.outputs import StackOutputs
from smoke import coldstart, deployed, egress, preflight, scaling, scratch, validate
from smoke.checks import Check, SmokeError, all_hold, run
from smoke.kube import KubeApi
from smoke.report import Report, as_json
from smoke.stack import Model, read_outputs, select

_INTERRUPTED = 130
_HIDDEN = "[secret]"
_DEFAULT_SECONDS = 1800
_REQUEST_SECONDS = 120
STEPS = (preflight.STEP, scratch.STEP, deployed.STEP, validate.STEP, egress.STEP, coldstart.STEP)
ON_DEMAND = (scratch.STEP, "connection", coldstart.STEP)


@dataclass(frozen=True)
class _Run:
    """What the steps of one run share."""

    options: argparse.Namespace
    api: KubeApi
    outputs: StackOutputs
    models: list[Model]
    report: Report
    measured: coldstart.Measured


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    report = Report(sys.stdout, sys.stderr, quiet=options.json)
    checks: list[Check] = []
    measured = coldstart.Measured({})
    try:
        _check_options(options)
        outputs = read_outputs(options.stack, options.outputs)
        models = select(outputs, options.model)
        api = KubeApi(options.kubeconfig or _usable(outputs.kubeconfig))
        try:
            for check in _checks(_Run(options, api, outputs, models, report, measured)):
                report.told()
                checks.append(check)
                report.check(check)
        finally:
            api.close()
    except SmokeError as error:
        print("\n".join(f"error: {line}" for line in str(error).splitlines()), file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: {str(interrupt) or _after_interrupt(options.action)}", file=sys.stderr)
        return _INTERRUPTED
    report.coldstarts(measured.coldstarts)
    report.closing(checks)
    if options.json:
        print(as_json(options.stack, checks, measured.coldstarts))
    return 0 if all_hold(checks) else 1


def _checks(run_: _Run) -> Iterator[Check]:
    options = run_.options
    if options.action in {"pause", "resume"}:
        yield from _scale(run_)
        return
    steps: dict[str, Callable[[], Iterator[Check]]] = {
        preflight.STEP: lambda: preflight.preflight(run_.api, run_.outputs, run_.models),
        scratch.STEP: lambda: _scratch(run_),
        deployed.STEP: lambda: deployed.deployed(run_.api, run_.outputs, run_.models),
        validate.STEP: lambda: validate.validate(
            run_.api,
            run_.outputs,
            run_.models,
            address=options.address,
            timeout=min(options.timeout, _REQUEST_SECONDS),
        ),
        egress.STEP: lambda: egress.egress(run_.api, run_.models, connect="connection" in options.on_demand),
        coldstart.STEP: lambda: coldstart.coldstart(
            run_.api,
            run_.outputs,
            run_.models,
            run_.measured,
            address=options.address,
            timeout=options.timeout,
            tell=run_.report.tell,
        ),
    }
    for step in _wanted(options):
        yield from steps[step]()


def _wanted(options: argparse.Namespace) -> list[str]:
    if options.action == coldstart.STEP:
        return [coldstart.STEP]
    if options.only:
        return [step for step in STEPS if step in options.only]
    return [step for step in STEPS if step not in ON_DEMAND or step in options.on_demand]


def _scratch(run_: _Run) -> Iterator[Check]:
    image, server = scratch.parse_images(run_.options.scratch_image, run_.options.scratch_server)
    return scratch.scratch(run_.api, run_.models, image, server, timeout=run_.options.timeout, tell=run_.report.tell)


def _scale(run_: _Run) -> Iterator[Check]:
    action, options, tell = run_.options.action, run_.options, run_.report.tell

    def paused(model: Model) -> str:
        scaling.pause(run_.api, model.output)
        scaling.wait_for_no_pods(run_.api, model.output, timeout=options.timeout, tell=tell)
        return "no pod is left; its node goes when the cluster's autoscaler finds it idle (GKE: about 10 minutes)"

    def resumed(model: Model) -> str:
        scaling.resume(run_.api, model.output)
        pod = scaling.wait_for_ready_pod(run_.api, model.output, timeout=options.timeout, tell=tell)
        return f"pod {pod['metadata']['name']} is ready"

    for model in run_.models:
        yield run(action, "pods", partial(paused if action == "pause" else resumed, model), model=model.key)


def _check_options(options: argparse.Namespace) -> None:
    """Check what argparse cannot, all of it before anything is asked.

    Raises:
        SmokeError: arguments contradict each other or are not usable.
    """
    problems = []
    if options.timeout <= 0:
        problems.append(f"--timeout {options.timeout:g}: write a number of seconds above 0")
    if options.action != "check" and (options.only or options.on_demand):
        problems.append(f"{options.action}: takes neither --only nor --on-demand")
    if scratch.STEP in _wanted(options) and options.action == "check":
        if options.scratch_image:
            scratch.parse_images(options.scratch_image, options.scratch_server)
        else:
            problems.append(
                "scratch: needs --scratch-image HOST/REPO@sha256:…, a small image that the cluster can pull: "
                "`python -m modelimage tiny FOLDER` and `python -m modelimage pack FOLDER HOST/REPO`"
            )
    if options.kubeconfig and not options.kubeconfig.is_file():
        problems.append(f"--kubeconfig {options.kubeconfig}: there is no such file")
    if options.address and not _is_address(options.address):
        problems.append(f"--address {options.address}: write HOST:PORT")
    if problems:
        raise SmokeError("\n".join(problems))


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in text and port.isdigit() and 0 < int(port) < 65536


def _after_interrupt(action: str) -> str:
    if action in {"pause", "resume"}:
        other = "resume" if action == "pause" else "pause"
        return f"models that were told to {action} still do; `python -m smoke {other}` takes that back"
    return "what the run had made or paused was put back"


def _usable(kubeconfig: str | None) -> str | None:
    """Return the stack's kubeconfig, or None where the stack has no cluster of its own.

    Raises:
        SmokeError: there is one, but it is hidden; another cluster must not be taken for the stack's.
    """
    if not kubeconfig:
        return None
    if kubeconfig == _HIDDEN:
        raise SmokeError(
            f"the stack's output kubeconfig is {_HIDDEN}: add --show-secrets to `pulumi stack output --json`, or give "
            "--kubeconfig FILE"
        )
    try:
        parsed = yaml.safe_load(kubeconfig)
    except yaml.YAMLError:
        return kubeconfig  # KubeApi says what is wrong with it
    return None if isinstance(parsed, dict) and not parsed.get("clusters") else kubeconfig


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m smoke",
        description="Check a deployed stack, step by step as the runbook (docs/runbook.md).",
    )
    parser.add_argument(
        "action",
        nargs="?",
        default="check",
        choices=("check", coldstart.STEP, "pause", "resume"),
        help="check (the default), measure a cold start, or take the models' pods away and bring them back",
    )
    parser.add_argument("--stack", required=True, metavar="NAME", help="the stack, as `pulumi stack ls` shows it")
    parser.add_argument(
        "--outputs",
        type=Path,
        metavar="FILE",
        help="read the stack's outputs from this JSON file instead of asking pulumi",
    )
    parser.add_argument("--model", action="append", default=[], metavar="KEY", help="only this model; may be repeated")
    parser.add_argument(
        "--only", action="append", default=[], choices=STEPS, metavar="STEP", help=f"only this step: {', '.join(STEPS)}"
    )
    parser.add_argument(
        "--on-demand",
        action="append",
        default=[],
        choices=ON_DEMAND,
        metavar="WHAT",
        help="also run what changes or costs something: scratch (makes and deletes a namespace), connection (tries "
        "the hub from inside of a pod), coldstart (pauses and resumes the models)",
    )
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="instead of the stack's own, else KUBECONFIG's, cluster"
    )
    parser.add_argument("--address", metavar="HOST:PORT", help="where the gateway is reached from here")
    parser.add_argument(
        "--timeout",
        type=float,
        default=_DEFAULT_SECONDS,
        metavar="S",
        help="seconds to wait for pods to come or go (default %(default)s)",
    )
    parser.add_argument("--scratch-image", metavar="REF", help="scratch: the small image to deliver, by digest")
    parser.add_argument(
        "--scratch-server",
        metavar="IMAGE",
        help="scratch: an image with sh, find and stat that waits for the files (default: the image itself)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser
