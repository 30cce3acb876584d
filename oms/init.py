"""`oms init`: a stack's file from five answers, judged by the settings' own checks before it is written."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import InputError, OmsError
from oms.convention import (
    choose_prices,
    going_on,
    interruptible,
    json_option,
    own_command,
    prices_option,
    print_json,
    tell,
)

if TYPE_CHECKING:
    from components.settings.stack_file import Project
    from components.stack_draft import Option, StackDraft
    from oms.init_model import NamedModel

_FITS = "what-fits"
_CPU = "cpu"
_NEW = "new"
_REGION = "us-central1"
_NOT_SHOWN = 3
"""Of the options that do not fit, how many are told of."""


@click.command()
@click.option(
    "--model",
    metavar="MODEL",
    help="hf://org/name[@revision], a folder, gs://…, oci://HOST/REPO@sha256:… (packed anew), or an image of this "
    "project, HOST/REPO@sha256:…; with --promote-from its key there.",
)
@click.option("--gpu", metavar="GPU", help="As l4, a100:4 (GPUs of a node) or cpu; what-fits lists what does.")
@click.option("--project", "google_project", metavar="PROJECT", help="The Google Cloud project.")
@click.option("--cluster", metavar="new|NAME", help="A new cluster, or the name of one that is there.")
@click.option("--location", metavar="REGION", help=f"Region, or zone of the cluster.  [default: {_REGION}]")
@click.option("--zone", "zones", multiple=True, metavar="ZONE", help="A zone that has the GPU; several by repeating.")
@click.option("--promote-from", metavar="STACK", help="organization/project/stack whose image is taken, unbuilt.")
@click.option("--allow", multiple=True, metavar="PATTERN", help="Of the model's files take only these, as *Q4_K_M*.")
@click.option("--size-gb", type=click.FloatRange(min=0, min_open=True), help="Of the image, where nothing else tells.")
@click.option("--stack", metavar="NAME", help="The stack's name.  [default: the model's]")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="The file.  [default: the stack's]")
@click.option("--yes", is_flag=True, help="Ask nothing: the cheapest that fits, and the file is written.")
@prices_option
@json_option
def init(*, yes: bool, prices: Path | None, as_json: bool, **given: Any) -> None:
    """Write a stack's file from five answers.

    These are the model, the GPU, the project, the cluster, and the stack to promote from, if any. On a terminal what is
    not given is asked for; elsewhere --model and --project must be given. The model is looked up and pinned, the nodes
    are those that hold it, each key has its reason beside it, and the checks of every plan have passed before anything
    is written. A file that is there is never touched.
    """
    from components.settings.stack_file import find_project
    from offline.program import working_in

    choose_prices(prices)
    asking = sys.stdin.isatty() and sys.stderr.isatty() and not (yes or as_json)
    with interruptible("no file was written"), _aborted():
        project = find_project(Path.cwd())
        answers = _Answers(asking=asking, **given)
        answers.check()
        model = answers.found_model(project)
        for line in model.told:
            tell(line)
        model = answers.promoted_model(project, model)
        stack = answers.stack or model.key
        file = answers.output or project.stack_file(stack)
        if file.exists():
            raise InputError(f"{file} is there already, and is left as it is: choose another --stack or --output")
        draft = answers.draft(stack, model)
        with working_in(project.folder):
            options = _options(draft, answers.asked("gpu", "GPU (l4, a100:4, cpu …)", _FITS))
        fitting = [option for option in options if not option.problems]
        if not fitting:
            raise InputError(*_why_not(options))
        listed = answers.gpu == _FITS
        if not as_json and (asking or listed):
            _show(options, draft)
        chosen = _chosen(fitting, asking=asking) if asking or yes or not listed else None
        written = _written(project, file, draft, model, chosen) if chosen else ""
        if chosen and not (asking and not _agreed(file, written)):
            from oms.init_file import write_new

            write_new(file, written)
            _say_next(project, file, model, draft, chosen)
        elif listed:
            tell(f"nothing was written: choose one by --gpu, as --gpu {fitting[0].title}, or the first by --yes")
        if as_json:
            print_json(_data(stack, file if chosen else None, options, chosen))


class _Answers:
    """What was given as options, and, on a terminal, what is answered."""

    def __init__(self, *, asking: bool, **given: Any) -> None:
        self._asking = asking
        self.model: str | None = given["model"]
        self.gpu: str | None = given["gpu"]
        self.google_project: str | None = given["google_project"]
        self.cluster: str | None = given["cluster"]
        self.location: str | None = given["location"]
        self.zones: tuple[str, ...] = given["zones"]
        self.promote_from: str | None = given["promote_from"]
        self.allow: tuple[str, ...] = given["allow"]
        self.size_gb: float | None = given["size_gb"]
        self.stack: str | None = given["stack"]
        self.output: Path | None = given["output"]

    def check(self) -> None:
        """See that nothing is missing that cannot be asked for, before anybody is asked for anything.

        Raises:
            InputError: with everything that is.
        """
        from components.settings.stack_file import is_stack_name

        needed = {"--model": self.model, "--project": self.google_project}
        missing = [] if self._asking else [name for name, value in needed.items() if not value]
        problems = [f"{name} is missing: off a terminal nothing is asked for" for name in missing]
        if self.stack and not is_stack_name(self.stack):
            problems.append(f"--stack {self.stack!r} is no name of a stack: write letters, digits, '-', '_' and '.'")
        if self.promote_from is not None and not re.fullmatch(r"([\w.-]+/){2}[\w.-]+", self.promote_from):
            problems.append(f"--promote-from {self.promote_from!r}: write organization/project/stack")
        if problems:
            raise InputError(*problems)

    def asked(self, name: str, question: str, default: str) -> str:
        """An answer: as it was given, else as it is typed, else the default."""
        if getattr(self, name) is None:
            answer = click.prompt(question, default=default, err=True) if self._asking else default
            setattr(self, name, str(answer).strip())
        return str(getattr(self, name))

    def found_model(self, project: "Project") -> "NamedModel":
        """The model, asked for until there is one."""
        from oms.init_model import named, promoted

        while True:
            if self.promote_from and self.model is None:
                self.model = click.prompt(f"Its key in {self.promote_from}", err=True).strip()
            self.asked("model", "Model (hf://org/name, a folder, or an image)", "hf://Qwen/Qwen2.5-0.5B-Instruct")
            try:
                with going_on(f"looking up {self.model}"):
                    if self.promote_from:
                        return promoted(self.promote_from, self.model or "", project, size_gb=self.size_gb)
                    return named(self.model or "", project, allow=self.allow, size_gb=self.size_gb)
            except OmsError as error:
                if not self._asking:
                    raise
                tell(f"error: {error}")
                self.model = None

    def promoted_model(self, project: "Project", found: "NamedModel") -> "NamedModel":
        """The same model, or as another stack has built it, where that is wanted."""
        from oms.init_model import promoted

        asked = self._asking and self.promote_from is None
        while asked:
            stack = click.prompt(
                "Promote from (organization/project/stack; nothing: build)", default="", err=True
            ).strip()
            if not stack:
                break
            self.promote_from = stack
            try:
                self.check()
                there = promoted(stack, found.key, project, size_gb=found.size_gb, only=True)
            except OmsError as error:
                tell(f"error: {error}")
            else:
                by = there.judged_as or (found.settings if "source" in found.settings else None)
                return replace(there, judged_as=by)
        return found

    def draft(self, stack: str, model: "NamedModel") -> "StackDraft":
        """The stack, apart from its nodes."""
        from components.settings.checks.locations import region_of
        from components.stack_draft import StackDraft

        if self.google_project is None and self._asking:
            self.google_project = click.prompt("Google Cloud project", err=True)
        cluster = self.asked("cluster", "Cluster: new, or the name of one that is there", _NEW)
        location = self.asked("location", "Its region, or zone", _REGION)
        region = region_of(location) or location
        if cluster == _NEW:
            name = re.sub(r"[^a-z0-9]+", "-", stack.lower()).strip("-")[:40].rstrip("-")
            name = name if name[:1].isalpha() else f"c-{name}"[:40]
            made: dict[str, Any] = {"create": {"name": name, **({"location": location} if location != region else {})}}
        else:
            made = {"name": cluster, "location": location}
        size = max(0.1, -(-model.size_gb * 10 // 1) / 10)
        settings = {**(model.judged_as or model.settings), "sizeGb": size}
        return StackDraft(
            stack, str(self.google_project), region, model.key, settings, model.size_gb, made, {}, self.zones
        )


@contextmanager
def _aborted() -> Iterator[None]:
    """Take a question that is not answered for an interrupt."""
    try:
        yield
    except click.Abort:
        tell("")
        raise KeyboardInterrupt from None


def _options(draft: "StackDraft", gpu: str) -> "list[Option]":
    from components import proposal
    from components.google import prices
    from components.google.accelerators import AcceleratorError

    if gpu == _CPU:
        return [proposal.on_cpu(draft, prices.chosen())]
    try:
        gpus = proposal.matching("" if gpu == _FITS else gpu)
    except AcceleratorError as error:
        raise InputError(f"--gpu {error}") from None
    with going_on("trying the GPUs"):
        return proposal.options(draft, gpus, prices.chosen())


def _why_not(options: "Sequence[Option]") -> list[str]:
    """Why none of the options does: what is wrong with all of them, else the first problem of the last ones."""
    shared = [problem for problem in options[0].problems if all(problem in option.problems for option in options)]
    if shared:
        return shared
    told = [f"{option.title}: {option.problems[0]}" for option in options[-_NOT_SHOWN:]]
    return [f"none of the {len(options)} ways to have these GPUs in one node holds the model, among them", *told]


def _show(options: "Sequence[Option]", draft: "StackDraft") -> None:
    """What fits, the cheapest first, for people."""
    from components.google.cold_start import span

    tell(f"what fits {draft.key}, US dollars an hour with one pod, cluster and system pool counted if they are new:")
    fitting = [option for option in options if not option.problems]
    rows = [("", "gpu", "machine", "USD/h", "cold start", "left of GPU", "image on")]
    for number, option in enumerate(fitting, 1):
        start = (
            f"{span(option.start.cold_start.total[0])} to {span(option.start.cold_start.total[1])}"
            if option.start
            else "?"
        )
        left = f"{option.fit.headroom_percent:.0f} %" if option.fit and option.fit.headroom_percent is not None else "?"
        rows.append((str(number), _title(option), option.machine, _usd(option), start, left, _disk_of(option)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        tell("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    without = len(options) - len(fitting)
    if without:
        tell(f"  {without} more cannot have it, as {options[-1].title}: {options[-1].problems[0]}")


def _title(option: "Option") -> str:
    return f"{option.title} (spot)" if _pool(option).get("spot") else option.title


def _usd(option: "Option") -> str:
    least, most = option.cost.at_min
    if option.cost.unpriced:
        return "no price"
    return f"{least:.2f}" if least == most else f"{least:.2f} to {most:.2f}"


def _pool(option: "Option") -> dict[str, Any]:
    return next(iter(option.values.get("nodePools", {"": {}}).values()))


def _disk_of(option: "Option") -> str:
    pool = _pool(option)
    if "bootDisk" in pool:
        return f"boot disk {pool['bootDisk']['sizeGb']} GB"
    return f"Local SSD x {pool['localSsd']}" if "localSsd" in pool else "its Local SSDs"


def _chosen(fitting: "Sequence[Option]", *, asking: bool) -> "Option":
    if not asking or len(fitting) == 1:
        return fitting[0]
    number: int = click.prompt("Which", default=1, type=click.IntRange(1, len(fitting)), err=True)
    return fitting[number - 1]


def _agreed(file: Path, text: str) -> bool:
    tell(text)
    return click.confirm(f"Write {file}?", default=True, err=True)


def _written(project: "Project", file: Path, draft: "StackDraft", model: "NamedModel", chosen: "Option") -> str:
    """The file's text, with the server by its digest where its registry can be asked.

    Raises:
        SettingsError: with that the checks refuse it.
    """
    from components.google import prices
    from components.stack_draft import judged
    from offline.program import working_in
    from oms.init_file import text_of

    server, pinned = _server(chosen)
    full = replace(draft, platforms=server)
    said = dict(chosen.values["models"][draft.key])
    if model.judged_as:
        said = {**model.settings, **{key: value for key, value in said.items() if key not in model.judged_as}}
    values = {**chosen.values, **({"platforms": server} if server else {}), "models": {draft.key: said}}
    order = ("target", "registry", "cluster", "nodePools", "platforms", "models")
    ordered = {key: values[key] for key in order if key in values}
    with working_in(project.folder):
        checked = judged(full, chosen, ordered, prices.chosen())
    if checked.problems:
        raise InputError(*checked.problems)
    reasons = {**chosen.reasons, **pinned, f"models.{draft.key}": model.told[0]}
    return text_of(project, file, {"gcp:project": draft.project, "gcp:region": draft.region}, ordered, reasons)


def _server(chosen: "Option") -> tuple[dict[str, Any], dict[str, str]]:
    """What the file says of the server's image, and the tag that it was pinned from; nothing where that is not told."""
    from components.serving import server_features
    from components.settings.server import VLLM_CPU_IMAGE, VLLM_IMAGE
    from oms.pin import digest_of

    # The runtime that all models share names the image for GPUs, even where none of them has one.
    tags = {"image": VLLM_IMAGE, **({} if chosen.accelerator else {"cpuImage": VLLM_CPU_IMAGE})}
    said: dict[str, Any] = {}
    pinned: dict[str, str] = {}
    for key, tag in tags.items():
        with going_on(f"asking for the digest of {tag}"):
            digest = digest_of(tag)
        if isinstance(digest, OmsError):
            tell(
                f"the server's image is left to its tag, {tag}: who has it cannot be asked ({digest}); `oms pin` later"
            )
            continue
        said[key] = f"{tag.rpartition(':')[0]}@{digest}"
        pinned[f"platforms.kserve.server.{key}"] = f"pinned: {tag}"
        if known := sorted(server_features.known(tag)):
            said["features"] = known  # a digest names no release
    return ({"kserve": {"server": said}}, pinned) if said else ({}, {})


def _say_next(project: "Project", file: Path, model: "NamedModel", draft: "StackDraft", chosen: "Option") -> None:
    """What was written, what it costs, and what is to be done next."""
    stack = draft.stack
    tell(f"wrote {file}: {_title(chosen)}" + (f" on {chosen.machine}" if chosen.machine else ""))
    tell(f"cost: {chosen.cost.text}")
    if chosen.start:
        tell(f"predicted: {chosen.start.text}")
    if chosen.accelerator and not draft.zones:
        tell(
            f"zones: none are written, since which ones have {chosen.accelerator} is Google's to say "
            f"(`gcloud compute accelerator-types list --filter=name={chosen.accelerator}`): write them as zones"
        )
    oms = own_command(project)
    if file.resolve() != project.stack_file(stack).resolve():
        tell(f"Next:\n  {oms} plan --stack {stack} --config-file {file}")
        return
    tell(f"Next:\n  {oms} plan --stack {stack}\n  pulumi stack init {stack}")
    if model.gated:
        tell(f"  pulumi config set --secret hubToken --stack {stack}  # the build needs the token as well")
    tell(f"  {oms} up --stack {stack}")


def _data(stack: str, file: Path | None, options: "Sequence[Option]", chosen: "Option | None") -> dict[str, Any]:
    def one(option: "Option") -> dict[str, Any]:
        return {
            "gpu": option.title,
            "machine": option.machine,
            "problems": list(option.problems),
            "cost": option.cost.data() if not option.problems else None,
            "cold_start": option.start.data() if option.start and not option.problems else None,
        }

    return {
        "stack": stack,
        "file": str(file) if file else None,
        "chosen": one(chosen) if chosen else None,
        "config": dict(chosen.values) if chosen else None,
        "options": [one(option) for option in options],
    }
