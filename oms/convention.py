"""What all commands share: the stack, JSON on stdout, and how each says that it was interrupted."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import OmsError
from oci_model_serving.foreign import lines

if TYPE_CHECKING:
    from components.settings.stack_file import Project


def _stacks(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    from components.settings.stack_file import find_project

    try:
        return [stack for stack in find_project(Path.cwd()).stacks() if stack.startswith(begun)]
    except OmsError:
        return []


stack_option = click.option(
    "--stack",
    default="local",
    show_default=True,
    metavar="NAME",
    help="The stack, by the name in Pulumi.<stack>.yaml.",
    shell_complete=_stacks,
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, all else on stderr.")

prices_option = click.option(
    "--prices",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    metavar="FILE",
    help="Prices of your own, CSV of kind,name,usd,per (docs/gke.md); default: OMS_PRICES, else list prices.",
)


def choose_prices(file: Path | None) -> None:
    """Let this process and those that it starts take prices from a file.

    Raises:
        InputError: it holds what is no price.
    """
    from components.google import prices

    if file:
        os.environ[prices.VARIABLE] = str(file)
    prices.chosen()


def print_json(data: object) -> None:
    """Write the one JSON object of a command."""
    sys.stdout.write(json.dumps(data) + "\n")


def own_command(project: "Project") -> str:
    """How `oms` is called from where this process was started: as the project has installed it, else by name."""
    own = project.folder / ".venv" / "bin" / "oms"
    return os.path.relpath(own) if own.is_file() else "oms"


def tell(text: str) -> None:
    """Say something that is no result."""
    sys.stderr.write(f"{lines(text)}\n")
    sys.stderr.flush()


def failed() -> click.exceptions.Exit:
    """What a command raises that has said what does not hold."""
    return click.exceptions.Exit(1)


@contextmanager
def interruptible(left: str) -> Iterator[None]:
    """Let an interrupt say what is left behind, where nothing said so closer by."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or left) from None


@contextmanager
def going_on(title: str, *, on_terminal: bool = True) -> Iterator[None]:
    """Say every second how long something has been going on: it is slow at times, and has nothing to say itself.

    Args:
        title: what goes on.
        on_terminal: false where something else shows there that it moves.
    """
    from oms.installing import SAYS_EVERY_SECONDS, Ticker

    ticker, ended = Ticker(title), threading.Event()

    def tell_on() -> None:
        while not ended.wait(SAYS_EVERY_SECONDS):
            ticker.say("")

    teller = threading.Thread(target=tell_on, daemon=True)
    if on_terminal or not sys.stderr.isatty():
        teller.start()
    try:
        yield
    finally:
        ended.set()
        if teller.ident:
            teller.join()
            ticker.over()


class CommandGroup(click.Group):
    """A group whose help lists its commands by what they are for."""

    sections: dict[str, list[str]]

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.sections = {}

    def add(self, section: str, *commands: click.Command) -> None:
        """Add commands under the section's title."""
        for command in commands:
            self.add_command(command)
            self.sections.setdefault(section, []).append(str(command.name))

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands in the order of the sections."""
        return [name for names in self.sections.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list for each section."""
        width = max(map(len, self.list_commands(ctx)))
        for section, names in self.sections.items():
            with formatter.section(section):
                formatter.write_dl(
                    [(name.ljust(width), self.commands[name].get_short_help_str(limit=90)) for name in names]
                )
