"""`oms plan`, `diff`, `policy`, `stacks` and `schema`: what can be said without engine, cloud or cluster."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from oci_model_serving.errors import InputError
from oms.convention import choose_prices, failed, json_option, prices_option, print_json, stack_option, tell

if TYPE_CHECKING:
    from components.settings.stack_file import Project, StackConfig
    from offline.plan import Plan
    from offline.verdict import Policy
    from policy.rules import Violation

_NAMED = 3
"""Resources of one message of the policy that are named; more are counted."""

_config_file = click.option(
    "--config-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The stack's settings, if not in Pulumi.<stack>.yaml.",
)
_outputs = click.option(
    "--outputs",
    multiple=True,
    metavar="STACK=FILE",
    help="Outputs of a stack that this one refers to: `pulumi stack output --json`, or a plan in JSON.",
)


@click.command()
@stack_option
@_config_file
@click.option("--format", "form", type=click.Choice(["table", "json", "yaml", "mermaid", "svg"]), default="table")
@_outputs
@click.option("--build/--preview", default=False, help="Really build the images of builder 'direct', or nothing.")
@click.option(
    "--manifests",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the Kubernetes objects as YAML files.",
)
@click.option("--policy", "judged", is_flag=True, help="Check the plan against the policy pack.")
@prices_option
@json_option
def plan(
    *,
    stack: str,
    config_file: Path | None,
    form: str,
    outputs: Sequence[str],
    build: bool,
    manifests: Path | None,
    judged: bool,
    prices: Path | None,
    as_json: bool,
) -> None:
    """Show what a stack consists of, how fast it starts and what it costs.

    The program runs in this process, and no state is recorded.
    """
    from oms.local_model import prepared

    choose_prices(prices)
    manifests = manifests.resolve() if manifests else None
    project, config = prepared(stack, config_file=config_file)
    found = planned(project, stack, config, outputs=_given(outputs), build=build)
    show(found, "json" if as_json else form)
    sys.stdout.flush()
    if manifests:
        from offline.manifests import write

        tell(f"wrote {len(write(found, manifests))} manifests to {manifests}")
    if judged and not _judge(found.data(), found.stack)["ok"]:
        raise failed()


@click.command()
@click.argument("base")
@click.argument("head")
@stack_option
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown", "mermaid", "svg"]), default="text")
@click.option("--exit-code", is_flag=True, help="End with 1 where there are differences.")
@prices_option
@json_option
def diff(*, base: str, head: str, stack: str, form: str, exit_code: bool, prices: Path | None, as_json: bool) -> None:
    """Compare two plans of a stack.

    \b
    BASE, HEAD: each a file with a plan in JSON (`oms plan --json`), or a git revision whose plan is made.
    A plan in a file says of which stack it is, and a BASE from before the stack has nothing of it.

    \b
    oms diff main HEAD --stack prod
    oms diff before.json after.json --format markdown
    """
    from components.settings.stack_file import is_file
    from offline.comment import as_markdown, as_picture, as_text
    from offline.diff import compare
    from offline.revisions import plan_of
    from offline.values import dumps
    from offline.verdict import Verdict
    from oms.local_model import prepared

    choose_prices(prices)
    stack = _stack_of(base, head, stack)
    folder = Path.cwd()
    if not all(is_file(Path(source)) for source in (base, head)):
        folder = _project().folder
        with suppress(InputError):  # what is wrong is in this checkout, and may not be in what is compared
            prepared(stack)
    before = plan_of(base, stack, folder, may_lack=True)
    after = plan_of(head, stack, folder)
    difference = compare(before, after)
    if as_json or form == "json":
        sys.stdout.write(dumps(Verdict(difference, policy_of(before, after, stack)).data()))
    elif form == "markdown":
        sys.stdout.write(as_markdown(difference, stack, policy_of(before, after, stack)))
    else:
        sys.stdout.write(as_text(difference) if form == "text" else as_picture(difference, form))
    if exit_code and difference:
        raise failed()


def _stack_of(base: str, head: str, asked: str) -> str:
    """The stack that a difference is about: what the later plan's file says of itself, then the earlier one's.

    Raises:
        InputError: another one was asked for, whose comment it would take the place of.
    """
    from components.settings.stack_file import is_file
    from offline.plan import load

    chosen = click.get_current_context().get_parameter_source("stack") is not ParameterSource.DEFAULT
    for source in (head, base):
        said = str(load(Path(source)).get("stack", "")) if is_file(Path(source)) else ""
        if said and chosen and said != asked and source == head:
            raise InputError(f"{head} is a plan of stack {said!r}: leave out --stack, or write --stack {said}")
        if said and not chosen:
            return said
    return asked


def policy_of(before: Mapping[str, Any], after: Mapping[str, Any], stack: str) -> "Policy":
    """What the policy says of the later plan, and what of that it did not say of the earlier one."""
    from offline.verdict import Policy
    from policy.rules import check

    known, found = {str(violation) for violation in check(before, stack)}, check(after, stack)
    mandatory, advisory = ([one for one in found if one.mandatory is level] for level in (True, False))
    new = [one for one in advisory if str(one) not in known]
    return Policy(_alike(mandatory), _alike(advisory), _alike(new))


def _alike(violations: "Sequence[Violation]") -> list[str]:
    """One message for all resources of which a rule says the same."""
    found: dict[str, list[str]] = {}
    for one in violations:
        found.setdefault(f"{one.rule}: {one.message}", []).append(one.resource.rpartition(":")[2])
    return [
        f"{said} ({', '.join(of[:_NAMED])}{f' and {len(of) - _NAMED} more' if len(of) > _NAMED else ''})"
        for said, of in found.items()
    ]


@click.command()
@stack_option
@_config_file
@_outputs
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Judge the plan in this file (`oms plan --json`), which another revision may have made; no code of it runs.",
)
@json_option
def policy(
    *, stack: str, config_file: Path | None, outputs: Sequence[str], plan_file: Path | None, as_json: bool
) -> None:
    """Check a stack's plan against the policy."""
    from oms.local_model import prepared

    if plan_file:
        from offline.plan import load

        if config_file or outputs:
            raise InputError("--plan: the plan is made already: leave out --config-file and --outputs")
        data = load(plan_file)
    else:
        project, config = prepared(stack, config_file=config_file)
        data = planned(project, stack, config, outputs=_given(outputs)).data()
    verdict = _judge(data, stack)
    if as_json:
        print_json(verdict)
    if not verdict["ok"]:
        raise failed()


@click.command()
@click.option("--format", "form", type=click.Choice(["text", "json", "github"]), default="text")
@json_option
def stacks(*, form: str, as_json: bool) -> None:
    """List the stacks, and where their images come from.

    As JSON: all, cloud (those on Google Cloud), and of these building and promoting. With --format github the same is
    written as a workflow's outputs.
    """
    from components.settings.stack_file import read_config
    from components.settings.types import Target

    project = _project()
    found, problems = {}, list[str]()
    for stack in project.stacks():
        try:
            config = read_config(project, stack)
            found[stack] = (config.target is Target.GKE, config.promotes)
        except InputError as error:  # noqa: PERF203 - all stacks' problems at once
            problems += error.problems
    if problems:
        raise InputError(*problems)
    listed = {
        "all": list(found),
        "cloud": [stack for stack, (cloud, _) in found.items() if cloud],
        "building": [stack for stack, (cloud, promotes) in found.items() if cloud and not promotes],
        "promoting": [stack for stack, (cloud, promotes) in found.items() if cloud and promotes],
    }
    if as_json or form == "json":
        print_json(listed)
    elif form == "github":
        for name, names in listed.items():
            print(f"{name}={json.dumps(names)}")
    else:
        for stack, (cloud, promotes) in found.items():
            print(f"{stack:20} {'gke' if cloud else 'local':6} {'promotes' if promotes else 'builds'}")


@click.command()
@click.argument("what", type=click.Choice(["stack", "outputs"]), default="stack")
@json_option
def schema(what: str, *, as_json: bool) -> None:  # noqa: ARG001 - it is one JSON object in any case
    """Print the JSON Schema of a stack's file or its outputs.

    \b
    The first is for editors, the second for programs of any language; they are committed as docs/stack.schema.json and
    docs/outputs.schema.json. This line at the top of a stack's file names the first to editors:
    # yaml-language-server: $schema=docs/stack.schema.json
    """
    from oms.schema import outputs_schema, stack_file_schema

    print_json(outputs_schema() if what == "outputs" else stack_file_schema())


def planned(
    project: "Project",
    stack: str,
    config: "StackConfig",
    *,
    outputs: Mapping[str, Mapping[str, Any]] | None = None,
    build: bool = False,
) -> "Plan":
    """The plan of a stack whose weights are in place; what the program had to say has been said."""
    from components.settings.places import LOCAL
    from oci_model_serving.private import private_folder
    from offline.program import Program

    if build:
        private_folder(project.folder / LOCAL)
    found = Program(project, outputs).plan(stack, config, build=build)
    tell_messages(found)
    return found


def tell_messages(found: "Plan") -> None:
    """Say what the program had to say."""
    from components.prediction import SAID

    for level, message in found.recording.messages:
        if not message.startswith(SAID):  # the plan itself shows it
            tell(f"{level}: {message}")


def show(found: "Plan", form: str) -> None:
    """Write a plan to stdout."""
    from offline.mermaid import mermaid
    from offline.picture import picture_of
    from offline.svg import svg
    from offline.table import NOT_AN_ENGINE, print_table
    from offline.values import dumps

    if form == "table":
        print_table(found, sys.stdout)
        return
    tell(f"{found.project} {found.stack}: {NOT_AN_ENGINE}")
    if form == "yaml":
        import yaml

        sys.stdout.write(yaml.safe_dump(found.data(), sort_keys=True, allow_unicode=True))
    elif form == "json":
        sys.stdout.write(dumps(found.data()))
    else:
        picture = picture_of(found.data(), title=f"{found.project} {found.stack}")
        sys.stdout.write(mermaid(picture) if form == "mermaid" else svg(picture))


def _judge(plan: Mapping[str, Any], stack: str) -> dict[str, Any]:
    """The policy's verdict on a plan; the violations have been said."""
    from dataclasses import asdict

    from policy.rules import check

    violations = check(plan, stack=stack)
    for violation in violations:
        tell(str(violation))
    mandatory = sum(violation.mandatory for violation in violations)
    tell(f"policy: {mandatory} mandatory, {len(violations) - mandatory} advisory violations")
    return {"stack": stack, "ok": not mandatory, "violations": [asdict(violation) for violation in violations]}


def _project() -> "Project":
    from components.settings.stack_file import find_project

    return find_project(Path.cwd())


def _given(outputs: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    from offline.program import read_outputs

    given: dict[str, Mapping[str, Any]] = {}
    for item in outputs:
        stack, equals, file = item.partition("=")
        if not (stack and equals and file):
            raise InputError(f"--outputs {item!r}: write STACK=FILE")
        given[stack] = read_outputs(Path(file))
    return given
