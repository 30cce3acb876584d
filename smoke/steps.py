"""Which steps a run has, and in what order: as the runbook (docs/runbook.md)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from oci_model_serving.errors import InputError
from oci_model_serving.outputs import StackOutputs
from oci_model_serving.reference import ImageReference
from smoke import allowed, coldstart, deployed, drift, egress, preflight, scaling, scratch, validate
from smoke.checks import Check, run
from smoke.report import Report
from smoke.stack import ServedModel
from watch.kube import KubeApi
from watch.rollout import wait_for_no_pods, wait_for_ready_pod
from watch.waiting import Tell

STEPS = (
    preflight.STEP,
    scratch.STEP,
    deployed.STEP,
    validate.STEP,
    egress.STEP,
    allowed.STEP,
    drift.STEP,
    coldstart.STEP,
)
ON_DEMAND = (scratch.STEP, "connection", drift.STEP, coldstart.STEP)
"""What changes or costs something, or asks for more than the outputs: it runs only where it is asked for."""
_REQUEST_SECONDS = 120


@dataclass(frozen=True)
class Options:
    """What is to be done, and how."""

    action: str = "check"
    only: tuple[str, ...] = ()  # these steps alone
    on_demand: tuple[str, ...] = ()  # what of `ON_DEMAND` runs besides the other steps
    address: str | None = None  # HOST:PORT that stands in for the gateway's own address
    timeout: float = 1800.0  # seconds to wait for pods to come or go
    scratch_image: str | None = None  # the small image to deliver, by digest
    scratch_server: str | None = None  # an image whose shell waits for its files; the image itself where it is None

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of this run, in their order; none where pods are only told to go or come."""
        if self.action != "check":
            return (coldstart.STEP,) if self.action == coldstart.STEP else ()
        if self.only:
            return tuple(step for step in STEPS if step in self.only)
        return tuple(step for step in STEPS if step not in ON_DEMAND or step in self.on_demand)


def problems(options: Options) -> list[str]:
    """All that is wrong with the options, found before anything is asked."""
    found = []
    if options.timeout <= 0:
        found.append(f"--timeout {options.timeout:g}: write a number of seconds above 0")
    if options.action != "check" and (options.only or options.on_demand):
        found.append(f"{options.action}: takes neither --only nor --on-demand")
    if scratch.STEP in options.steps:
        try:
            _scratch_images(options)
        except InputError as error:
            found += error.problems
    if options.address and not _is_address(options.address):
        found.append(f"--address {options.address}: write HOST:PORT")
    return found


def after_interrupt(action: str) -> str:
    """What an interrupted run has left."""
    if action in {"pause", "resume"}:
        other = "resume" if action == "pause" else "pause"
        return f"models that were told to {action} still do; `oms {other}`, or `pulumi up --refresh`, takes that back"
    return "what the run had made or paused was put back"


def checks(  # noqa: PLR0917 - what one run is made of
    options: Options,
    api: KubeApi,
    outputs: StackOutputs,
    models: list[ServedModel],
    report: Report,
    measured: coldstart.Measured,
    wanted: Callable[[], list[drift.Wanted]],
) -> Iterator[Check]:
    """Run what the options ask for, one check after the other; `wanted` gives what drift is held to."""
    address, timeout, tell = options.address, options.timeout, report.tell
    if options.action in {"pause", "resume"}:
        act = _pause if options.action == "pause" else _resume
        for model in models:
            yield run(options.action, "pods", partial(act, api, model, timeout=timeout, tell=tell), model=model.key)
    steps: dict[str, Callable[[], Iterator[Check]]] = {
        preflight.STEP: lambda: preflight.preflight(api, outputs, models),
        scratch.STEP: lambda: scratch.scratch(api, models, *_scratch_images(options), timeout=timeout, tell=tell),
        deployed.STEP: lambda: deployed.deployed(api, outputs, models),
        validate.STEP: lambda: validate.validate(
            api, outputs, models, address=address, timeout=min(timeout, _REQUEST_SECONDS)
        ),
        egress.STEP: lambda: egress.egress(api, models, connect="connection" in options.on_demand),
        allowed.STEP: lambda: allowed.allowed(api, models),
        drift.STEP: lambda: drift.drift(api, wanted(), models),
        coldstart.STEP: lambda: coldstart.coldstart(
            api, outputs, models, measured, address=address, timeout=timeout, tell=tell
        ),
    }
    for step in options.steps:
        yield from steps[step]()


def _pause(api: KubeApi, model: ServedModel, *, timeout: float, tell: Tell) -> str:
    scaling.pause(api, model.output)
    wait_for_no_pods(api, model.output, timeout=timeout, tell=tell)
    return "no pod is left; its node goes when the cluster's autoscaler finds it idle (GKE: about 10 minutes)"


def _resume(api: KubeApi, model: ServedModel, *, timeout: float, tell: Tell) -> str:
    scaling.resume(api, model.output)
    pod = wait_for_ready_pod(api, model.output, timeout=timeout, tell=tell, account=model.account)
    return f"pod {pod['metadata']['name']} is ready"


def _scratch_images(options: Options) -> tuple[ImageReference, str]:
    if not options.scratch_image:
        raise InputError(
            "scratch: needs --scratch-image HOST/REPO@sha256:…, a small image that the cluster can pull: "
            "`oms image tiny FOLDER` and `oms image pack FOLDER HOST/REPO`"
        )
    return scratch.parse_images(options.scratch_image, options.scratch_server)


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and "/" not in text and port.isdigit() and 0 < int(port) < 65536
