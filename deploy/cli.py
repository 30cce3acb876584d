"""The command line of `python -m deploy`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

import offline.cli
from deploy import engine
from modelimage import ImageError, write_tiny_model

_MODEL = Path(".local", "model")
_TINY = Path(".local", "tiny-model")
_NAMESPACE = "oci-model-serving"


class InputError(Exception):
    """The call is wrong; the message says what to write instead."""


def main(arguments: Sequence[str]) -> int:
    """Run `up` or `preview` on a stack.

    Returns:
        0 when it held, 2 for a wrong call, else what the engine or the in-process run gave.
    """
    options = _parser().parse_args(arguments)
    try:
        local = _target(options.stack) == "local"
        _model(options.stack, options.model)
        path = engine.find() or engine.install()
        if path:
            yes = options.command == "up" and (options.yes or local)
            return engine.run(path, options.command, options.stack, arguments=["--yes"] if yes else [], local=local)
        return _in_process(options.command, options.stack, local=local)
    except (InputError, ImageError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _in_process(command: str, stack: str, *, local: bool) -> int:
    if command == "up" and not local:
        raise InputError(
            f"stack {stack!r} lives on Google Cloud, which needs the Pulumi CLI, and there is none on PATH and none "
            f"could be fetched: install it, or look at the plan with `make preview STACK={stack}`"
        )
    sys.stderr.write("no Pulumi CLI on PATH and none could be fetched: running in-process, no state is recorded\n")
    arguments = ["--stack", stack]
    if command == "up":
        arguments += ["--build", "--manifests", str(Path(".local", "manifests"))]
        if _kubeconfig(stack):
            arguments.append("--apply")
    return offline.cli.main(arguments)


def _settings(stack: str) -> dict[str, object]:
    path = Path(f"Pulumi.{stack}.yaml")
    if not path.is_file():
        known = ", ".join(sorted(one.name.split(".")[1] for one in Path().glob("Pulumi.*.yaml")))
        raise InputError(f"there is no {path}: write it, or take one of the stacks {known}")
    try:
        read = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    config = read.get("config") if isinstance(read, dict) else None
    return config if isinstance(config, dict) else {}


def _target(stack: str) -> object:
    return _settings(stack).get(f"{_NAMESPACE}:target", "local")


def _kubeconfig(stack: str) -> bool:
    cluster = _settings(stack).get(f"{_NAMESPACE}:cluster")
    return isinstance(cluster, dict) and bool(cluster.get("kubeconfig"))


def _model(stack: str, given: Path | None) -> None:
    """Put the weights where the local stack looks for them: the folder that was given, or a tiny model made here."""
    models = _settings(stack).get(f"{_NAMESPACE}:models")
    entries = models.values() if isinstance(models, dict) else ()
    sources = [entry.get("source") for entry in entries if isinstance(entry, dict)]
    if _MODEL.as_posix() not in sources:
        if given:
            raise InputError(f"MODEL={given} would not be used: no model of stack {stack!r} has source: {_MODEL}")
        return
    if given and not given.is_dir():
        raise InputError(f"MODEL={given} is no folder: name a folder of weights")
    if given is None:
        if _MODEL.exists():
            return
        if not _TINY.exists():
            _TINY.parent.mkdir(exist_ok=True)
            write_tiny_model(str(_TINY))
            sys.stderr.write(f"made a tiny Qwen2 model with random weights in {_TINY}\n")
    _MODEL.parent.mkdir(exist_ok=True)
    _MODEL.unlink(missing_ok=True)
    _MODEL.symlink_to((given or _TINY).resolve(), target_is_directory=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy", description=main.__doc__)
    parser.add_argument("command", choices=("up", "preview"))
    parser.add_argument("--stack", default="local", help="the stack, by the name in Pulumi.<stack>.yaml (%(default)s)")
    parser.add_argument("--model", type=Path, help="a folder of weights for the local stack, instead of a tiny model")
    parser.add_argument("--yes", action="store_true", help="deploy without asking (the local stack never asks)")
    return parser
