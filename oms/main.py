"""The command `oms`: what it consists of, and the one place where an error becomes a message and an exit code.

0: done, and all held; 1: something failed or does not hold; 2: wrong input; 130: interrupted.
"""

import gc
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import get_completion_class, shell_complete

from oci_model_serving.errors import OmsError
from oms import check, compile_cache, convention, image, image_prune, image_trust, init, pin, plan, render, up

INTERRUPTED = 130
_COMPLETE = "_OMS_COMPLETE"
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
_EXAMPLES = """\b
Examples:
  oms init                                  write a stack's file from five answers
  oms up                                    deploy the local stack: no cloud
  oms up --stack dev                        deploy dev, after its preview and a question
  oms diff main HEAD --stack prod           what this branch changes in prod
  oms check --stack dev                     check what is deployed, step by step
  oms image inspect HOST/REPO:TAG           the digest of a tag
  oms pin --check                           whether servers' images are by digest, and fresh
  eval "$(oms completion bash)"             complete commands, options and stacks
"""


def _version(context: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - a callback of click's
    if asked:
        text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
        click.echo("".join(re.findall(r'^version = "(.*)"', text, re.MULTILINE)))
        context.exit()


@click.group(cls=convention.CommandGroup, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version and exit."
)
def oms() -> None:
    """From weights to a served endpoint on GKE, by one image digest."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - the choices are click's own
    click.echo(kind(oms, {}, "oms", _COMPLETE).source())


oms.add("Deploy", init.init, up.up, up.preview, up.engine_group)
oms.add("Look, without engine or cloud", plan.plan, plan.diff, render.render, plan.policy, plan.stacks, plan.schema)
oms.add("What is deployed", check.check, check.pause, check.resume, check.coldstart)
for command in (image_trust.sign, image_trust.verify, image_trust.attest, image_prune.prune):
    image.image.add_command(command)
oms.add("Images", image.image, compile_cache.cache, pin.pin)
oms.add("Shell", completion)


def main(arguments: Sequence[str]) -> int:
    """Run a command and give its exit code; what a person must know has been said."""
    # Google's libraries warn of each Python version's end of life, at every start, among our own messages.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\.")
    try:
        with oms.make_context("oms", list(arguments)) as context:
            oms.invoke(context)
            sys.stdout.flush()
        code = 0
    except click.exceptions.Exit as ended:
        code = ended.exit_code
    except click.UsageError as error:
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            error.show()
        else:
            path = error.ctx.command_path if error.ctx else "oms"
            convention.tell(f"error: {error.format_message()}\nsee `{path} --help`")
        code = error.exit_code
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is left to say, not even at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt as interrupt:
        convention.tell(f"interrupted: {str(interrupt) or 'nothing was changed'}")
        code = INTERRUPTED
    except Exception as error:
        told = _told(error)
        if told is None:
            raise
        code = told
    return code


def start(*before: str) -> NoReturn:
    """Run the command line behind the words `before`, and end the process."""
    # `docker stop`, CI and Pulumi end a command by SIGTERM: clean up as after Ctrl-C.
    signal.signal(signal.SIGTERM, _terminate)
    # What a listing of tens of thousands of files makes stays to the end: to look through all of it again for each 700
    # new objects, which is the default, is a seventh of the work of packing them.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)
    # httpx loads rich and pygments for a command of its own, where they are installed: a fifth of our start. To the
    # import statement, None is a module that is not there.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    if _COMPLETE in os.environ:
        sys.exit(shell_complete(oms, {}, "oms", _COMPLETE, os.environ[_COMPLETE]))
    code = main([*before, *sys.argv[1:]])
    if code == INTERRUPTED:
        # All is tidied up and told. A thread may hang in a read for minutes, or wait to start the next build; an
        # ordinary exit would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def start_smoke() -> NoReturn:
    """The door `python -m smoke [ACTION]`: without an action, and whatever stands before it, it checks."""
    words = sys.argv[1:]
    found = [
        at
        for at, word in enumerate(words)
        if word in {"check", "pause", "resume", "coldstart"}
        and not (at and words[at - 1].startswith("--") and "=" not in words[at - 1] and words[at - 1] != "--json")
    ]
    start(sys.argv.pop(found[0] + 1) if found else "check")


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _told(error: BaseException) -> int | None:
    """Say what an error means for a person; its exit code, or none where it is unexpected and so our own mistake."""
    pulumi = sys.modules.get("pulumi")
    for cause in _causes(error):
        if isinstance(cause, OmsError) or (pulumi and isinstance(cause, pulumi.RunError)):
            for line in str(cause).splitlines():
                convention.tell(line if line.startswith("error: ") else f"error: {line}")
            return cause.exit_code if isinstance(cause, OmsError) else 1
    if not isinstance(error, OSError):
        return None
    where = f"{error.filename}: " if error.filename else ""
    convention.tell(f"error: {where}{error.strerror or error}: check the path, and what this user may do")
    return 1


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        yield at
        at = at.__cause__ or at.__context__
