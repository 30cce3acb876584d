"""The Pulumi engine: find it, or fetch it with the SDK's own installer; run it on a stack."""

import json
import multiprocessing
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from pulumi.automation import PulumiCommand

INSTALL_SECONDS = 60
_LOCAL_PASSPHRASE = "local"  # noqa: S105 - the local stack keeps no secret worth one


def find() -> str | None:
    """The path of `pulumi`: on PATH, or where the SDK's installer puts it, or none."""
    return shutil.which("pulumi") or _installed()


def install() -> str | None:
    """Let the SDK's installer fetch the CLI, for at most a minute; the path of `pulumi`, or none."""
    # The installer has no bound of its own: without a way out it would try for minutes.
    process = multiprocessing.get_context("spawn").Process(target=_install, daemon=True)
    process.start()
    process.join(INSTALL_SECONDS)
    if process.is_alive():
        process.terminate()
        process.join()
    return _installed()


def run(pulumi_path: str, command: str, stack: str, *, arguments: Sequence[str], local: bool) -> int:
    """Run `pulumi up` or `pulumi preview` on a stack that is made if it is not there.

    Without a configured backend the state goes to `.local/state`. The local stack gets a passphrase and a copy of its
    settings, since the engine writes its encryption salt into the file that it reads.

    Args:
        pulumi_path: the CLI.
        command: `up` or `preview`.
        stack: name of the stack.
        arguments: further arguments of the command.
        local: whether the stack's target is local.

    Returns:
        The exit code of the first command that failed, or 0.
    """
    environment = dict(os.environ, PULUMI_SKIP_UPDATE_CHECK="true")
    if not _has_backend(environment):
        state = Path(".local", "state").absolute()
        state.mkdir(parents=True, exist_ok=True)
        environment["PULUMI_BACKEND_URL"] = state.as_uri()
    select = [pulumi_path, "stack", "select", "--create", stack, "--non-interactive"]
    settings: list[str] = []
    if local:
        if not {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"} & environment.keys():
            environment["PULUMI_CONFIG_PASSPHRASE"] = _LOCAL_PASSPHRASE
        own = Path(".local", f"Pulumi.{stack}.yaml")
        with _kept(Path(f"Pulumi.{stack}.yaml"), own):
            code = subprocess.run(select, env=environment, check=False).returncode
        settings = ["--config-file", str(own)]
    else:
        code = subprocess.run(select, env=environment, check=False).returncode
    if code:
        return code
    line = [pulumi_path, command, "--stack", stack, *settings, *arguments]
    return subprocess.run(line, env=environment, check=False).returncode


@contextmanager
def _kept(settings: Path, own: Path) -> Iterator[None]:
    """Leave the settings as they are in the checkout; the salt that a new stack gets goes into a copy."""
    text = settings.read_text()
    try:
        yield
        earlier = own.read_text() if own.is_file() else ""
        salt = "" if _salt_in(text) else _salt_in(settings.read_text()) or _salt_in(earlier)
        own.parent.mkdir(exist_ok=True)
        own.write_text(salt + text)
    finally:
        settings.write_text(text)


def _salt_in(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("encryptionsalt:"))


def _has_backend(environment: Mapping[str, str]) -> bool:
    """Whether somebody has chosen a backend: then a failing login is an error, not a reason to take another one."""
    if {"PULUMI_BACKEND_URL", "PULUMI_ACCESS_TOKEN"} & environment.keys():
        return True
    project = yaml.safe_load(Path("Pulumi.yaml").read_text()) if Path("Pulumi.yaml").is_file() else {}
    if (project.get("backend") or {}).get("url"):
        return True
    credentials = Path(environment.get("PULUMI_HOME", Path.home() / ".pulumi"), "credentials.json")
    try:
        return bool(json.loads(credentials.read_text()).get("current"))
    except (OSError, ValueError):
        return False


def _installed() -> str | None:
    """What an earlier run of the installer left, in its own default folder."""
    for folder in sorted((Path.home() / ".pulumi" / "versions").glob("*"), reverse=True):
        path = folder / "bin" / "pulumi"
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def _install() -> None:
    # What goes wrong is told by its absence: the caller falls back and says so in one line.
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    PulumiCommand.install()
