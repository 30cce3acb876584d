"""Names of images: one grammar, whoever reads them, and whose registry a name leads to.

Three forms exist. `ImageReference` (`HOST[:PORT]/PATH@sha256:…`) is the only one that serving resources accept.
`RegistryReference` may have a tag or nothing instead of the digest, and `LayoutReference` (`oci:FOLDER[@sha256:…]`)
is an OCI image layout: what the packer reads and writes.

The grammar is that of the OCI distribution specification v1.1 (names, tags, digests) with the host rule of Docker's
reference parser: the first component is a host if it has a dot or a port, or is `localhost`. It is always written out,
since a default host would make one name mean different images on different machines.
"""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from oci_model_serving.errors import InputError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LAYOUT_SCHEME = "oci:"
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_NAMED_HOST = rf"(?:localhost|(?:{_LABEL}\.)+{_LABEL}|\[[0-9a-fA-F:]+\])"
_HOST = rf"(?:{_NAMED_HOST}(?::[0-9]{{1,5}})?|{_LABEL}:[0-9]{{1,5}})"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_NAME = re.compile(rf"(?P<host>{_HOST})/(?P<path>{_PATH})")
TAG_CHARACTERS = 128
_TAG = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{TAG_CHARACTERS - 1}}}")


@dataclass(frozen=True)
class ImageReference:
    """An image in a registry, named by its digest: `repository` is `host[:port]/path`. Make one with `parse`.

    Raises:
        InputError: a part is malformed.
    """

    repository: str
    digest: str

    def __post_init__(self) -> None:
        if not is_repository(self.repository):
            raise InputError(_why_no_repository(self.repository))
        if not DIGEST.fullmatch(self.digest):
            raise InputError(_why_no_digest(self.digest))

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Read `host[:port]/path@sha256:<64 hex>`.

        Raises:
            InputError: the text is anything else (a tag, a tag beside the digest, a short or uppercase digest, a bare
                image id, `<none>@<none>`); the message holds the remedy.
        """
        if "<none>" in text:
            raise InputError(
                f"{text!r} is what Docker prints for an image that was never pushed: push it, and use the "
                "host/path@sha256:… that the registry answered with"
            )
        scheme = re.match(r"[a-z+]+://", text)
        if scheme:
            raise InputError(f"{text!r} starts with a scheme: write it without {scheme.group()!r}")
        name, tag, digest = split(text)
        if not digest:
            if re.fullmatch(r"(sha256:)?[0-9a-fA-F]{12,64}", text):
                raise InputError(
                    f"{text!r} is an image id or a bare digest without its repository: write host/path@sha256:<64 hex>"
                )
            said = f"names the tag {tag!r}" if tag else "names no digest"
            raise InputError(
                f"{text!r} {said}: a tag can move, so write {name or 'host/path'}@sha256:<64 hex> "
                f"(`oms image inspect {text}` prints the digest of a tag)"
            )
        if tag:
            raise InputError(
                f"{text!r} has a tag beside the digest (Kubernetes then pulls as the tag says): write {name}@{digest}"
            )
        return cls(name, digest)

    @property
    def host(self) -> str:
        """The registry's host, with its port when there is one."""
        return self.repository.partition("/")[0]

    @property
    def digest_tag(self) -> str:
        """The tag that spells the digest."""
        return digest_tag(self.digest)

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class RegistryReference:
    """An image, or a place for one, in a registry: `host/repository` with a tag, a digest or neither."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        suffix = f"@{self.digest}" if self.digest else f":{self.tag}" if self.tag else ""
        return f"{self.name}{suffix}"

    @property
    def name(self) -> str:
        """The repository with its host: what two references to the same repository share."""
        return f"{self.host}/{self.repository}"

    def at(self, digest: str) -> "RegistryReference":
        """The reference to the image `digest` in the same repository."""
        return replace(self, tag=None, digest=digest)


@dataclass(frozen=True)
class LayoutReference:
    """An image in an OCI image layout folder; without a digest, the only image there."""

    folder: Path
    digest: str | None = None

    def __str__(self) -> str:
        return f"{LAYOUT_SCHEME}{self.folder}" + (f"@{self.digest}" if self.digest else "")

    def at(self, digest: str) -> "LayoutReference":
        """The reference to the image `digest` in the same layout."""
        return replace(self, digest=digest)


Reference = RegistryReference | LayoutReference


DIGEST_TAG_PREFIX = "digest-"
"""What the tags that spell digests begin with: cleanup policies keep them."""
PACKED_TAG_PREFIX = "packed-"
"""What the tags begin with that spell the digests of images which were packed into their repository: only packing
writes them, a copy of an image does not carry them."""
SHARE_TAG_PREFIX = "share-"
"""What the tags of records begin with that machines leave which pack an image together (`modelimage.shares`)."""
REFERRERS_PREFIX = "sha256-"
"""What tags begin with that are lists of referrers: the OCI distribution specification v1.1 ("Referrers Tag Schema")
calls the list of an image's signatures and attestations `sha256-<hex>`, and clients replace it; cosign adds `.sig` and
`.att`. Up to version 0.1.0 this was our own tag's name too."""


def digest_tag(digest: str) -> str:
    """The tag that spells `digest` out, `digest-sha256-<hex>`: it names its own content, so serving may see it."""
    return DIGEST_TAG_PREFIX + referrers_tag(digest)


def packed_tag(digest: str) -> str:
    """The tag that says of an image that it was packed into its repository, `packed-sha256-<hex>`."""
    return PACKED_TAG_PREFIX + referrers_tag(digest)


def referrers_tag(digest: str) -> str:
    """The tag of the list of a manifest's referrers where the registry has no API, `sha256-<hex>`.

    Up to version 0.1.0 it was our own tag that spelled `digest` out.
    """
    return digest.replace(":", "-", 1)


def digest_of(tag: str) -> str:
    """The digest that such a tag spells out, by its present or its former name; "" for any other tag."""
    digest = tag.removeprefix(DIGEST_TAG_PREFIX).replace("-", ":", 1)
    return digest if DIGEST.fullmatch(digest) else ""


def packed_digest_of(tag: str) -> str:
    """The digest that the tag of a packed image spells out; "" for any other tag."""
    return digest_of(tag.removeprefix(PACKED_TAG_PREFIX)) if tag.startswith(f"{PACKED_TAG_PREFIX}sha256-") else ""


def split(text: str) -> tuple[str, str, str]:
    """Name, tag and digest of an image's name, whatever they are worth; empty where there is none."""
    rest, _, digest = text.partition("@")
    path, slash, last = rest.rpartition("/")
    own, _, tag = last.partition(":") if slash else (last, "", "")
    return f"{path}{slash}{own}", tag, digest


def is_repository(text: str) -> bool:
    """Whether the text is `host[:port]/path`, without tag or digest."""
    return _NAME.fullmatch(text) is not None


def is_by_digest(text: str) -> bool:
    """Whether the text is `host[:port]/path@sha256:<64 hex>`."""
    try:
        ImageReference.parse(text)
    except InputError:
        return False
    return True


def host_of(image: str) -> str:
    """The registry's host of an image as a pod names it, with its port when there is one.

    A pod may name none, and then means Docker Hub (Docker's reference parser).
    """
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def is_loopback(host: str) -> bool:
    """Whether `host` (`name[:port]`) is this machine itself: the only place where plain http is spoken."""
    # The whole is tried first: what looks like a port at the end of `::1` is a part of the address.
    for name in (host, re.sub(r":\d+$", "", host)):
        if name == "localhost":
            return True
        with suppress(ValueError):
            return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    return False


def parse(text: str) -> Reference:
    """Read a reference to a registry's image or a layout's.

    Raises:
        InputError: the text is neither; the message says what to write instead.
    """
    return parse_layout(text) if text.startswith(LAYOUT_SCHEME) else parse_registry(text)


def parse_pinned(text: str) -> tuple[Reference, str]:
    """Read a reference that must carry a digest, since a tag can come to mean another image; both are returned.

    Raises:
        InputError: the text is no reference or has no digest.
    """
    reference = parse(text)
    if reference.digest is None:
        raise InputError(
            f"{text!r} names no digest: write HOST/REPO@sha256:<64 hex digits> (`oms image inspect {text}` prints it)"
        )
    return reference, reference.digest


def parse_layout(text: str) -> LayoutReference:
    """Read `oci:FOLDER` or `oci:FOLDER@sha256:…`.

    Raises:
        InputError: there is no folder, or the digest is malformed.
    """
    folder, at, digest = text.removeprefix(LAYOUT_SCHEME).rpartition("@")
    if not at or not digest.startswith("sha256"):
        folder, digest = text.removeprefix(LAYOUT_SCHEME), ""
    if not folder:
        raise InputError(f"{text!r} names no folder: write oci:FOLDER")
    if digest and not DIGEST.fullmatch(digest):
        raise InputError(f"{text!r}: {_why_no_digest(digest)}")
    return LayoutReference(Path(folder), digest or None)


def parse_registry(text: str) -> RegistryReference:
    """Read `HOST[:PORT]/REPO` with an optional `:TAG` or `@sha256:…`.

    Raises:
        InputError: any part is missing or malformed; the message lists all that is wrong.
    """
    if "://" in text:
        raise InputError(f"{text!r} is an address, not a reference: write HOST/REPO without the scheme")
    rest, _, digest = text.partition("@")
    host, _, path = rest.partition("/")
    repository, _, tag = path.partition(":")
    problems = []
    if not re.fullmatch(_HOST, host):
        problems.append(
            f"{text!r} names no registry host: write it out, as in docker.io/library/busybox or localhost:5000/models"
        )
    elif not re.fullmatch(_PATH, repository):
        problems.append(
            f"{text!r}: a repository is lower-case letters and digits, parted by '/', '.', '_' or '-', "
            f"not {repository!r}: write HOST/REPO"
        )
    elif host == "docker.io" and "/" not in repository:
        problems.append(f"{text!r}: write the whole name, docker.io/library/{repository}")
    if "@" in text and not DIGEST.fullmatch(digest):
        problems.append(f"{text!r}: {_why_no_digest(digest)}")
    if ":" in path and not _TAG.fullmatch(tag):
        problems.append(f"{text!r}: a tag is at most {TAG_CHARACTERS} letters, digits, '.', '_' and '-', not {tag!r}")
    if problems:
        raise InputError(*problems)
    if digest:
        # A tag beside a digest is decoration: the digest decides, and kubelet would pull `latest@…` each time.
        return RegistryReference(host, repository, None, digest)
    return RegistryReference(host, repository, tag or None)


def _why_no_repository(repository: str) -> str:
    if repository != repository.lower() and is_repository(repository.lower()):
        return f"repository {repository!r} has uppercase letters, which registries refuse: write {repository.lower()!r}"
    if "/" not in repository or not re.match(_HOST + "/", repository):
        return (
            f"repository {repository!r} has no registry host: write host[:port]/path, "
            "for example us-central1-docker.pkg.dev/project/repository/image"
        )
    return f"repository {repository!r} is not host[:port]/path in lower case letters, digits and single . _ - between"


def _why_no_digest(digest: str) -> str:
    if re.fullmatch(r"sha256:[0-9a-f]+", digest):
        return f"digest {digest!r} has {len(digest) - 7} hexadecimal digits: write all 64 of them"
    if re.fullmatch(r"(?i)sha256:[0-9a-f]{64}", digest):
        return f"digest {digest!r} has uppercase letters: write {digest.lower()!r}"
    return f"digest {digest!r} is not sha256:<64 hexadecimal digits in lower case>"


_GOOGLE_HOST = re.compile(r"(?P<location>[a-z0-9-]+)-docker\.pkg\.dev|(?:(?P<place>us|eu|asia)\.)?gcr\.io")
_GCR_LOCATIONS = {None: "us", "us": "us", "eu": "europe", "asia": "asia"}
"""Where the Artifact Registry repositories behind gcr.io are (Artifact Registry, "Transition from Container
Registry")."""


@dataclass(frozen=True)
class GoogleRepository:
    """An Artifact Registry repository. `project` is its id, `example.com:name` in a domain's scope."""

    project: str
    location: str
    repository: str

    @property
    def name(self) -> str:
        """The full resource name."""
        return f"projects/{self.project}/locations/{self.location}/repositories/{self.repository}"


def is_google(host: str) -> bool:
    """Whether `host` is Google's registry, which alone may ever be offered a Google access token."""
    return _GOOGLE_HOST.fullmatch(host) is not None


def google_repository(name: str) -> GoogleRepository | None:
    """Whose repository `host/path…` is in: the Artifact Registry repository, or None where another registry serves it.

    A domain's project is `example.com:name`, and `example.com/name` in an image's name (Artifact Registry, "Repository
    and image names").
    """
    host, *path = name.split("/")
    found = _GOOGLE_HOST.fullmatch(host)
    own = 2 if path and "." in path[0] else 1
    project, rest = ":".join(path[:own]), path[own:]
    if found is None or len(path) < own or not project:
        return None
    if found["location"] is None:
        return GoogleRepository(project, _GCR_LOCATIONS[found["place"]], host)
    return GoogleRepository(project, found["location"], rest[0]) if rest and rest[0] else None
