"""The Pulumi engine: where it is, which backend, passphrase and settings a stack has; the same for every command."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from components.google.refusals import Refused, remedies
from components.settings.places import LOCAL
from components.settings.stack_file import Project, StackConfig
from components.settings.types import Target
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.foreign import in_line, read_json
from oci_model_serving.private import private_folder
from oms.passphrase import passphrase, salt_in

VERSIONS = Path("~/.pulumi/versions")
"""Where the SDK's installer and `oms engine install` leave the CLI, in a folder for each version."""

_OUTPUTS_SECONDS = 120
_STDERR = 2
_PLAN_BROKEN = re.compile(r"violates plan|not allowed by the plan")
_COLOR = re.compile(r"<\{%[^%]*%\}>")
"""How the engine writes a color into its events (pulumi, sdk/go/common/diag/colors)."""


class EngineFailedError(OmsError):
    """The engine ended with an error, and said which; `said` are the errors among what it said."""

    def __init__(self, message: str, said: Sequence[Refused] = ()) -> None:
        self.said = tuple(said)
        super().__init__("\n".join([message, *remedies(said)]))


class PlanBrokenError(OmsError):
    """What would be done is no longer what the plan says; nothing or not all of it was done."""


def find() -> str | None:
    """The path of `pulumi`: on PATH, or the newest that was installed for the SDK, or none; nothing is fetched."""
    return shutil.which("pulumi") or _installed()


@dataclass(frozen=True)
class Engine:
    """The CLI at `path`, for one stack of a project."""

    path: str
    project: Project
    stack: str
    local: bool
    environment: Mapping[str, str]

    @classmethod
    def of(cls, path: str, project: Project, stack: str, config: StackConfig) -> "Engine":
        """Choose what the stack's commands share.

        Without a configured backend the state goes to `.local/state`. A local stack, and no other, gets a passphrase,
        which is the checkout's own.
        Where manifests are rendered there is no cluster that a refresh could ask.
        The engine would otherwise begin by fetching the plugin of every provider whose SDK is installed (`up
        --skip-plugin-pre-install`, pulumi #22947; an older one does not know the option, and does that).
        """
        local = config.target is Target.LOCAL
        environment = dict(os.environ, PULUMI_SKIP_UPDATE_CHECK="true")
        environment.setdefault("PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL", "true")
        if not _has_backend(project, environment):
            state = private_folder(project.folder / LOCAL) / "state"
            state.mkdir(exist_ok=True)
            environment["PULUMI_BACKEND_URL"] = state.as_uri()
        if local and not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & environment.keys():
            settings = project.stack_file(stack)
            environment |= passphrase(project.folder / LOCAL, [settings, project.folder / LOCAL / settings.name])
        if local and not config.kubeconfig:
            environment["PULUMI_OPTION_REFRESH"] = "false"
        return cls(path, project, stack, local, environment)

    def run(self, command: str, *arguments: str, quiet: bool = False) -> None:
        """Run `pulumi up` or `pulumi preview` on the stack, which is made if it is not there.

        A local stack's settings are copied, since the engine writes its encryption salt into the file that it reads.

        Args:
            command: `up` or `preview`.
            arguments: further arguments of the command.
            quiet: leave stdout to the caller; what the engine says goes to stderr.

        Raises:
            EngineFailedError: a command of the engine failed; it has said why, and this what helps.
            PlanBrokenError: it was given a plan, which no longer holds.
            KeyboardInterrupt: it was interrupted, and has ended by itself.
        """
        settings = self.project.stack_file(self.stack)
        own = Path(LOCAL, settings.name)
        select = ["stack", "select", "--create", self.stack, "--non-interactive"]
        with _kept(settings, self.project.folder / own) if self.local else nullcontext():
            self._wait(select, quiet=True)
        given = ["--config-file", str(own)] if self.local else []
        with tempfile.TemporaryDirectory(prefix="oms-") as folder:
            # A file beside what it shows: on the terminal all stays as the engine makes it.
            log = Path(folder, "events")
            events = {"PULUMI_DEBUG_COMMANDS": "true", "PULUMI_OPTION_EVENT_LOG": str(log)}
            try:
                self._wait([command, "--stack", self.stack, *given, *arguments], quiet=quiet, further=events)
            except EngineFailedError as error:
                said = _errors(log)
                if any(_PLAN_BROKEN.search(one.message) for one in said):
                    raise PlanBrokenError(
                        f"the plan no longer holds: the stack, the settings or the code changed after it was made. See "
                        f"what would be done now with `oms preview --stack {self.stack} --save-plan FILE`, have that "
                        "reviewed and apply it"
                    ) from None
                raise EngineFailedError(str(error), said) from None

    def refresh(self, targets: Sequence[str]) -> None:
        """Have the stack's state say of these resources what the cluster says; URNs, in which `**` stands for any text.

        Raises:
            EngineFailedError: it could not; the engine has said why.
            KeyboardInterrupt: it was interrupted, and has ended by itself.
        """
        own = Path(LOCAL, self.project.stack_file(self.stack).name)
        given = ["--config-file", str(own)] if self.local and (self.project.folder / own).is_file() else []
        named = [word for target in targets for word in ("--target", target)]
        self._wait(
            ["refresh", "--stack", self.stack, *given, "--yes", "--skip-preview", "--non-interactive", *named],
            quiet=True,
        )

    def outputs(self, *, secrets: bool) -> dict[str, Any]:
        """The stack's outputs; with `secrets` in plain text, for this process only.

        Raises:
            InputError: the engine has none.
        """
        command = ["stack", "output", "--json", "--stack", self.stack, "--non-interactive"]
        command += ["--show-secrets"] if secrets else []
        try:
            done = subprocess.run(
                [self.path, *command],
                cwd=self.project.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=_OUTPUTS_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"pulumi gave no outputs of stack {self.stack} in {_OUTPUTS_SECONDS} s: is it logged in?"
            ) from None
        if done.returncode:
            said = in_line(
                next((line for line in done.stderr.splitlines() if line.strip()), f"exit code {done.returncode}")
            )
            raise InputError(
                f"pulumi has no outputs of stack {self.stack}: {said.strip()}; see `pulumi stack ls`, or deploy it "
                f"with `oms up --stack {self.stack}`"
            )
        try:
            raw = read_json(done.stdout)
        except ValueError:
            raise InputError(
                f"pulumi answered no JSON for the outputs of stack {self.stack}: see `pulumi stack output --json`"
            ) from None
        return raw if isinstance(raw, dict) else {}

    def _wait(self, arguments: Sequence[str], *, quiet: bool, further: Mapping[str, str] | None = None) -> None:
        came: list[int] = []
        child: list[subprocess.Popen[bytes]] = []

        def note(number: int, _: FrameType | None) -> None:
            came.append(number)
            # Ctrl-C reaches the engine from the terminal, and a second one would make it leave resources behind.
            # Whoever sends SIGTERM (make, Docker) sends it to this process only.
            if number == signal.SIGTERM:
                for process in child:
                    process.terminate()

        # Handlers, unlike SIG_IGN, are not passed on: the engine cancels by itself, and this waits for it.
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            child.append(
                subprocess.Popen(
                    [self.path, *arguments],
                    cwd=self.project.folder,
                    env={**self.environment, **(further or {})},
                    stdout=_STDERR if quiet else None,
                )
            )
            code = child[0].wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt("what the engine says above holds; the same command again goes on")
        if code:
            raise EngineFailedError(f"`pulumi {arguments[0]}` of stack {self.stack} failed: see above")


def _errors(log: Path) -> list[Refused]:
    """The errors among the engine's events (one JSON object a line); none where it wrote no such file."""
    found = []
    with log.open(encoding="utf-8", errors="replace") if log.is_file() else nullcontext(()) as written:
        for line in written:
            with suppress(ValueError, AttributeError):  # the last line may be cut off
                said = read_json(line).get("diagnosticEvent") or {}
                if said.get("severity") == "error":
                    found.append(Refused(_COLOR.sub("", str(said.get("message", ""))), str(said.get("urn", ""))))
    return found


@contextmanager
def _kept(settings: Path, own: Path) -> Iterator[None]:
    """Leave the settings as they are in the checkout; the salt that a new stack gets goes into a copy."""
    text = settings.read_text()
    try:
        yield
        earlier = own.read_text() if own.is_file() else ""
        salt = "" if salt_in(text) else salt_in(settings.read_text()) or salt_in(earlier)
        private_folder(own.parent)
        own.write_text(salt + text)
    finally:
        settings.write_text(text)


def _has_backend(project: Project, environment: Mapping[str, str]) -> bool:
    """Whether somebody has chosen a backend: then a failing login is an error, not a reason to take another one."""
    if project.backend or {"PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"} & environment.keys():
        return True
    credentials = Path(environment.get("PULUMI_HOME", Path.home() / ".pulumi"), "credentials.json")
    try:
        return bool(json.loads(credentials.read_text()).get("current"))
    except (OSError, ValueError):
        return False


def _installed() -> str | None:
    """The newest of what is installed for the SDK."""
    folders = VERSIONS.expanduser().glob("*")
    for folder in sorted(folders, key=lambda one: _version(one.name), reverse=True):
        path = folder / "bin" / "pulumi"
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def _version(name: str) -> tuple[list[int], bool]:
    """How versions sort: by number, and a pre-release before its release."""
    release, _, before = name.partition("-")
    return [int(number) for number in re.findall(r"\d+", release)], not before
