"""The command line of `python -m offline`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
import yaml

from components.outputs import ContractError
from components.references import ReferenceError  # noqa: A004 - see there
from components.settings import SettingsError
from modelimage import ImageError
from offline.config import find_project
from offline.diff import as_markdown, as_text, compare
from offline.errors import InputError, OfflineError
from offline.files import is_file
from offline.manifests import write
from offline.mermaid import mermaid
from offline.plan import Plan
from offline.program import Program, read_outputs
from offline.revisions import plan_of
from offline.table import NOT_AN_ENGINE, print_table
from offline.values import dumps
from policy.rules import check

_KNOWN = {SettingsError: 2, ContractError: 2, ReferenceError: 2, pulumi.RunError: 1}
"""Errors of the program whose text is the whole message, and the exit code that each gives."""
_DESCRIPTION = """Runs the project's Pulumi program in this process, without engine, cloud or cluster, and shows what
it would do. Nothing is deployed and no state is recorded. `python -m offline diff BASE HEAD` compares two plans."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and give the exit code: 0 done, 1 failed, 2 wrong input."""
    try:
        if arguments[:1] == ["diff"]:
            return _diff(_diff_parser().parse_args(arguments[1:]))
        return _plan(_parser().parse_args(arguments))
    except BrokenPipeError:
        return 1
    except Exception as error:
        for cause in _causes(error):
            code = _exit_code(cause)
            if code is not None:
                sys.stderr.write(f"{cause}\n")
                return code
        raise


def _plan(options: argparse.Namespace) -> int:
    if options.wait is not None and not options.apply:
        raise InputError("--wait waits for what --apply has applied: add --apply")
    manifests = options.manifests.resolve() if options.manifests else None
    program = Program(find_project(Path.cwd()), _given_outputs(options.outputs))
    plan = program.plan(options.stack, config_file=options.config_file, build=options.build)
    for level, message in plan.recording.messages:
        sys.stderr.write(f"{level}: {message}\n")
    _show(plan, options.format)
    sys.stdout.flush()
    if manifests:
        sys.stderr.write(f"wrote {len(write(plan, manifests))} manifests to {manifests}\n")
    if options.policy and not _policy(plan):
        return 1
    if options.apply:
        from offline.cluster import apply  # noqa: PLC0415 - its Kubernetes client takes a while to import

        apply(plan, wait_seconds=options.wait)
    return 0


def _policy(plan: Plan) -> bool:
    """Print the policy's violations; whether no mandatory one is among them."""
    violations = check(plan.data(), stack=plan.stack)
    for violation in violations:
        sys.stderr.write(f"{violation}\n")
    mandatory = [violation for violation in violations if violation.mandatory]
    sys.stderr.write(f"policy: {len(mandatory)} mandatory, {len(violations) - len(mandatory)} advisory violations\n")
    return not mandatory


def _diff(options: argparse.Namespace) -> int:
    sources = (options.base, options.head)
    folder = Path.cwd() if all(is_file(Path(source)) for source in sources) else find_project(Path.cwd()).folder
    base = plan_of(options.base, options.stack, folder)
    difference = compare(base, plan_of(options.head, options.stack, folder))
    if options.format == "json":
        sys.stdout.write(dumps(difference.data()))
    elif options.format == "markdown":
        sys.stdout.write(as_markdown(difference, options.stack))
    else:
        sys.stdout.write(as_text(difference))
    return 0


def _show(plan: Plan, form: str) -> None:
    if form == "table":
        print_table(plan, sys.stdout)
        return
    sys.stderr.write(f"{plan.project} {plan.stack}: {NOT_AN_ENGINE}\n")
    if form == "json":
        sys.stdout.write(dumps(plan.data()))
    elif form == "yaml":
        sys.stdout.write(yaml.safe_dump(plan.data(), sort_keys=True, allow_unicode=True))
    else:
        sys.stdout.write(mermaid(plan))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m offline", description=_DESCRIPTION)
    parser.add_argument("--stack", default="local", help="the stack, by the name in Pulumi.<stack>.yaml (%(default)s)")
    parser.add_argument("--config-file", type=Path, help="the stack's settings, if not in Pulumi.<stack>.yaml")
    parser.add_argument("--format", choices=("table", "json", "yaml", "mermaid"), default="table")
    parser.add_argument(
        "--outputs",
        action="append",
        default=[],
        metavar="STACK=FILE",
        help="outputs of a stack that this one refers to: `pulumi stack output --json`, or a plan in JSON",
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--build", action="store_true", help="really build the images of builder 'direct'")
    mode.add_argument("--preview", action="store_false", dest="build", help="build nothing (the default)")
    parser.add_argument("--manifests", type=Path, metavar="DIR", help="write the Kubernetes objects as YAML files")
    parser.add_argument("--apply", action="store_true", help="apply the Kubernetes objects to the stack's cluster")
    parser.add_argument(
        "--wait",
        nargs="?",
        type=float,
        const=600.0,
        metavar="SECONDS",
        help="after --apply, wait until the objects are ready (at most %(const)s seconds)",
    )
    parser.add_argument("--policy", action="store_true", help="check the plan against the policy pack")
    return parser


def _diff_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m offline diff",
        description="Compares two plans, each a file with a plan in JSON or a git revision whose plan is made.",
    )
    parser.add_argument("base", metavar="BASE")
    parser.add_argument("head", metavar="HEAD")
    parser.add_argument("--stack", default="local", help="the stack, by the name in Pulumi.<stack>.yaml (%(default)s)")
    parser.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    return parser


def _given_outputs(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    outputs = {}
    for item in given:
        stack, equals, file = item.partition("=")
        if not (stack and equals and file):
            raise InputError(f"--outputs {item!r}: write STACK=FILE")
        outputs[stack] = read_outputs(Path(file))
    return outputs


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in causes:
        causes.append(at)
        at = at.__cause__ or at.__context__
    return causes


def _exit_code(error: BaseException) -> int | None:
    """The exit code of an error whose text is a complete message; none for an unexpected one."""
    if isinstance(error, OfflineError | ImageError):
        return error.exit_code
    return next((code for known, code in _KNOWN.items() if isinstance(error, known)), None)
