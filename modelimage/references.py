"""References: what ``python -m modelimage`` takes as an image's name, and what it prints as one.

Two kinds exist: an image in a registry (``HOST[:PORT]/REPO@sha256:…``, or with a tag where a tag may be given) and
an image in an OCI image layout folder (``oci:FOLDER[@sha256:…]``). The grammar is the distribution specification's
(https://github.com/opencontainers/distribution-spec, v1.1, "Pulling manifests"); the host is always written out,
since a default host would make one name mean different images on different machines.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelimage.errors import BadInputError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LAYOUT_SCHEME = "oci:"
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class RegistryReference:
    """An image, or a place for one, in a registry: ``host/repository`` with a tag, a digest or neither."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        """Write the reference as it is given to other tools, the digest last and never beside a tag."""
        suffix = f"@{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"{self.name}{suffix}"

    @property
    def name(self) -> str:
        """The repository with its host: what two references to the same repository share."""
        return f"{self.host}/{self.repository}"

    def at(self, digest: str) -> RegistryReference:
        """Return the reference to the image ``digest`` in the same repository."""
        return replace(self, tag=None, digest=digest)


@dataclass(frozen=True)
class LayoutReference:
    """An image in an OCI image layout folder; without a digest, the only image there."""

    folder: Path
    digest: str | None = None

    def __str__(self) -> str:
        """Write the reference with the scheme that tells it from a registry's."""
        return f"{LAYOUT_SCHEME}{self.folder}" + (f"@{self.digest}" if self.digest else "")

    def at(self, digest: str) -> LayoutReference:
        """Return the reference to the image ``digest`` in the same layout."""
        return replace(self, digest=digest)


Reference = RegistryReference | LayoutReference


def digest_tag(digest: str) -> str:
    """Return the tag that spells ``digest`` out: ``sha256-<hex>``, the only tag that serving may see."""
    return digest.replace(":", "-", 1)


def is_loopback(host: str) -> bool:
    """Tell whether ``host`` (``name[:port]``) is this machine itself: the only place where plain http is spoken."""
    # The whole is tried first: what looks like a port at the end of `::1` is a part of the address.
    for name in (host, re.sub(r":\d+$", "", host)):
        if name == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    return False


def parse(text: str) -> Reference:
    """Read a reference of either kind.

    Raises:
        BadInputError: the text is neither; the message says what to write instead.
    """
    return parse_layout(text) if text.startswith(LAYOUT_SCHEME) else parse_registry(text)


def parse_pinned(text: str) -> tuple[Reference, str]:
    """Read a reference that must carry a digest, since a tag can come to mean another image; return both.

    Raises:
        BadInputError: the text is no reference or has no digest.
    """
    reference = parse(text)
    if reference.digest is None:
        raise BadInputError(
            f"{text!r} names no digest: write HOST/REPO@sha256:<64 hex digits> "
            f"(`python -m modelimage inspect {text}` prints it)"
        )
    return reference, reference.digest


def parse_layout(text: str) -> LayoutReference:
    """Read ``oci:FOLDER`` or ``oci:FOLDER@sha256:…``.

    Raises:
        BadInputError: there is no folder, or the digest is malformed.
    """
    folder, at, digest = text.removeprefix(LAYOUT_SCHEME).rpartition("@")
    if not at or not digest.startswith("sha256"):
        folder, digest = text.removeprefix(LAYOUT_SCHEME), ""
    if not folder:
        raise BadInputError(f"{text!r} names no folder: write oci:FOLDER")
    if digest and not DIGEST.fullmatch(digest):
        raise BadInputError(f"{text!r}: a digest is sha256: and 64 lower-case hex digits, not {digest!r}")
    return LayoutReference(Path(folder), digest or None)


def parse_registry(text: str) -> RegistryReference:
    """Read ``HOST[:PORT]/REPO`` with an optional ``:TAG`` or ``@sha256:…``.

    Raises:
        BadInputError: any part is missing or malformed; the message lists all that is wrong.
    """
    if "://" in text:
        raise BadInputError(f"{text!r} is an address, not a reference: write HOST/REPO without the scheme")
    rest, _, digest = text.partition("@")
    host, _, path = rest.partition("/")
    repository, _, tag = path.partition(":")
    problems = []
    if not _HOST.fullmatch(host) or not ("." in host or ":" in host or host == "localhost"):
        problems.append(
            f"{text!r} names no registry host: write it out, as in docker.io/library/busybox or localhost:5000/models"
        )
    elif not _REPOSITORY.fullmatch(repository):
        problems.append(
            f"{text!r}: a repository is lower-case letters and digits, parted by '/', '.', '_' or '-', "
            f"not {repository!r}: write HOST/REPO"
        )
    elif host == "docker.io" and "/" not in repository:
        problems.append(f"{text!r}: write the whole name, docker.io/library/{repository}")
    if "@" in text and not DIGEST.fullmatch(digest):
        problems.append(f"{text!r}: a digest is sha256: and 64 lower-case hex digits, not {digest!r}")
    if ":" in path and not _TAG.fullmatch(tag):
        problems.append(f"{text!r}: a tag is at most 128 letters, digits, '.', '_' and '-', not {tag!r}")
    if problems:
        raise BadInputError(*problems)
    if digest:
        # A tag beside a digest is decoration: the digest decides, and kubelet would pull `latest@…` each time.
        return RegistryReference(host, repository, None, digest)
    return RegistryReference(host, repository, tag or None)
