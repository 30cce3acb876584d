"""`oms engine install`: the engine's release, fetched where it is asked for by name only, and held to a checksum."""

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelimage.answers import held
from modelimage.certificates import tls_context
from oci_model_serving.errors import InputError, OmsError
from oms.engine import VERSIONS

RELEASES = "https://get.pulumi.com/releases/sdk"
"""Where Pulumi's own installer takes releases from; they sign `pulumi-VERSION-checksums.txt`."""

_MACHINES = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
_CHECKSUMS_LIMIT_BYTES = 64 << 10
_ARCHIVE_LIMIT_BYTES = 1 << 30
_UNPACKED_LIMIT_BYTES = 4 << 30
"""Releases of 2026 have 200 MB packed, 900 MB unpacked."""
_SILENCE_SECONDS = 30.0
_SLOWEST_START_SECONDS = 60


@dataclass(frozen=True)
class Installed:
    """The CLI at `path`, and the SHA-256 of the archive that it came from."""

    path: str
    version: str
    sha256: str


def install(pinned: str | None) -> Installed:
    """Fetch the CLI of the SDK's version into the folder where `oms.engine` and Pulumi's own tools look for it.

    Args:
        pinned: the SHA-256 that the archive must have, whatever its release lists.

    Raises:
        InputError: `pinned` is none, or this machine has the version already.
        OmsError: it cannot be fetched, or is not what its checksum says; nothing was installed.
    """
    if pinned is not None and not re.fullmatch(r"[0-9a-f]{64}", pinned):
        raise InputError(f"--sha256 {pinned!r}: write 64 digits of 0-9 and a-f, as sha256sum prints them")
    version = importlib.metadata.version("pulumi")
    target = VERSIONS.expanduser() / version
    path = target / "bin" / "pulumi"
    if path.exists():
        raise InputError(f"{path} is there already: remove {target} to fetch it anew")
    return Installed(str(path), version, _fetch(version, target, pinned))


def _fetch(version: str, target: Path, pinned: str | None) -> str:
    """Put the release of a version into a folder, which is there whole or not at all; the SHA-256 of its archive.

    Raises:
        OmsError: there is none for this machine, or it is not what its checksum says.
    """
    archive = f"pulumi-v{version}-{_platform()}.tar.gz"
    with _failures(), _client() as client:
        listed = _listed(client, f"pulumi-{version}-checksums.txt", archive)
        if pinned not in {None, listed}:
            raise OmsError(
                f"the release lists sha256 {listed} for {archive}, not that of --sha256: nothing was fetched"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside what it becomes, so that it gets there by one rename; private, so that nobody changes it in between.
        with tempfile.TemporaryDirectory(prefix=".oms-", dir=target.parent) as folder:
            packed, unpacked = Path(folder, "archive"), Path(folder, "unpacked")
            found = _download(client, archive, packed)
            if found != listed:
                raise OmsError(
                    f"{archive} has sha256 {found} and not {listed}, which its release lists: nothing was installed; "
                    "what is between this machine and the release may have changed it"
                )
            _unpack(packed, unpacked / "bin")
            _try_out(unpacked / "bin" / "pulumi", version)
            shutil.rmtree(target, ignore_errors=True)  # what Pulumi's own installer left half-way
            unpacked.replace(target)
    return listed


def _platform() -> str:
    machine = _MACHINES.get(platform.machine().lower())
    if sys.platform not in {"linux", "darwin"} or machine is None:
        raise InputError(
            f"there is no release of the Pulumi CLI for {sys.platform} on {platform.machine()}: install it yourself "
            "and put it on PATH"
        )
    return f"{sys.platform}-{machine}"


@contextmanager
def _failures() -> Iterator[None]:
    """Tell what a transport or a disk has against it in one line."""
    try:
        yield
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        if isinstance(error, httpx.HTTPStatusError):
            why = f"{error.request.url.path} is answered with {error.response.status_code}"
        raise OmsError(
            f"the release of the Pulumi CLI cannot be fetched from {RELEASES}: {why}: install it yourself and put it "
            "on PATH"
        ) from error
    except tarfile.TarError as error:
        raise OmsError(f"the release of the Pulumi CLI is no archive that can be read: {error}") from error


def _client() -> httpx.Client:
    scheme = httpx.URL(RELEASES).scheme

    def same_scheme(request: httpx.Request) -> None:
        if request.url.scheme != scheme:
            raise httpx.UnsupportedProtocol(f"it leads to {request.url.scheme}://{request.url.host}")

    return httpx.Client(
        follow_redirects=True,
        max_redirects=5,
        timeout=_SILENCE_SECONDS,
        verify=tls_context(None),
        event_hooks={"request": [same_scheme]},
    )


def _listed(client: httpx.Client, name: str, archive: str) -> str:
    with client.stream("GET", f"{RELEASES}/{name}") as response:
        response.raise_for_status()
        text = held(response, _CHECKSUMS_LIMIT_BYTES).content.decode("ascii", "replace")
    found = set(re.findall(rf"^([0-9a-f]{{64}})[ *]+{re.escape(archive)}$", text, re.MULTILINE))
    if len(found) != 1:
        raise OmsError(f"{RELEASES}/{name} lists {len(found) or 'no'} checksums of {archive}: nothing was fetched")
    return str(found.pop())


def _download(client: httpx.Client, archive: str, path: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with client.stream("GET", f"{RELEASES}/{archive}") as response, path.open("wb") as file:
        response.raise_for_status()
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > _ARCHIVE_LIMIT_BYTES:
                raise OmsError(f"{archive} has more than {_ARCHIVE_LIMIT_BYTES >> 30} GiB: nothing was installed")
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _unpack(packed: Path, folder: Path) -> None:
    """Unpack the archive's programs, which are in its folder `pulumi`."""
    folder.mkdir(parents=True)
    room = _UNPACKED_LIMIT_BYTES
    with tarfile.open(packed, "r:gz") as archive:
        for member in archive:
            at = re.fullmatch(r"(?:\./)?pulumi/(?:bin/)?([\w.-]+)", member.name)
            content = archive.extractfile(member) if at and member.isreg() else None
            room -= member.size
            if member.isdir():
                continue
            if content is None or at is None or room < 0:
                raise OmsError(f"the release has {member.name!r}, which is no program of it: nothing was installed")
            with (folder / at[1]).open("xb") as file:
                shutil.copyfileobj(content, file)
                os.fchmod(file.fileno(), 0o755)


def _try_out(path: Path, version: str) -> None:
    """Tell whether what was unpacked starts here, and is what was asked for."""
    try:
        done = subprocess.run(
            [path, "version"],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            capture_output=True,
            text=True,
            timeout=_SLOWEST_START_SECONDS,
            check=False,
        )
        said = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if said.removeprefix("v") != version:
        raise OmsError(
            f"the release does not start on this machine as version {version}: {said[:200] or 'it says nothing'}"
        )
