"""The command line of `python -m offline`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pulumi
import yaml

from offline.config import find_project
from offline.errors import InputError, OfflineError
from offline.mermaid import mermaid
from offline.plan import Plan
from offline.program import Program, read_outputs
from offline.table import NOT_AN_ENGINE, print_table
from offline.values import dumps

_DESCRIPTION = """Runs the project's Pulumi program in this process, without engine, cloud or cluster, and shows what
it would do. Nothing is deployed and no state is recorded. `python -m offline diff BASE HEAD` compares two plans."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and give the exit code: 0 done, 1 failed, 2 wrong input."""
    try:
        return _plan(_parser().parse_args(arguments))
    except OfflineError as error:
        return _told(error, error.exit_code)
    except Exception as error:
        for cause in _causes(error):
            if _is_settings_error(cause):
                return _told(cause, InputError.exit_code)
            if isinstance(cause, OfflineError):
                return _told(cause, cause.exit_code)
            if isinstance(cause, pulumi.RunError):
                return _told(cause, 1)
        raise


def _plan(options: argparse.Namespace) -> int:
    program = Program(find_project(Path.cwd()), _given_outputs(options.outputs))
    plan = program.plan(options.stack, config_file=options.config_file, build=options.build)
    for level, message in plan.recording.messages:
        sys.stderr.write(f"{level}: {message}\n")
    _show(plan, options.format)
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


def _is_settings_error(error: BaseException) -> bool:
    settings: Any = sys.modules.get("components.settings")
    return settings is not None and isinstance(error, settings.SettingsError)


def _told(error: BaseException, exit_code: int) -> int:
    sys.stderr.write(f"{error}\n")
    return exit_code
