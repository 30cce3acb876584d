"""References to images by digest: the only form of an image that serving resources accept.

The grammar is that of the OCI distribution specification v1.1 (names, digests) with the host rule of Docker's
reference parser (the first component is a host if it has a dot, a port, or is `localhost`).
"""

import re
from dataclasses import dataclass

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:localhost|(?:{_LABEL}\.)+{_LABEL}|\[[0-9a-fA-F:]+\])"
_HOST_OR_PORT = rf"(?:{_HOST}(?::[0-9]{{1,5}})?|{_LABEL}:[0-9]{{1,5}})"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?P<host>{_HOST_OR_PORT})/(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ReferenceError(ValueError):  # noqa: A001 - the field's word for it; the built-in is about weak references
    """A text is not `host[:port]/path@sha256:<64 hex>`; the message says what to write instead."""


@dataclass(frozen=True)
class ImageReference:
    """An image in a registry, named by its digest.

    `repository` is `host[:port]/path`, `digest` is `sha256:<64 hex>`. Make one with `parse`.
    """

    repository: str
    digest: str

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository):
            raise ReferenceError(_why_no_repository(self.repository))
        if not _DIGEST.fullmatch(self.digest):
            raise ReferenceError(_why_no_digest(self.digest))

    @classmethod
    def parse(cls, text: str) -> "ImageReference":
        """Read `host[:port]/path@sha256:<64 hex>`.

        Raises:
            ReferenceError: the text is anything else (a tag, a tag beside the digest, a short or uppercase digest,
                a bare image id, `<none>@<none>`); the message holds the remedy.
        """
        if "<none>" in text:
            raise ReferenceError(
                f"{text!r} is what Docker prints for an image that was never pushed: push it, and use the "
                "host/path@sha256:… that the registry answered with"
            )
        scheme = re.match(r"[a-z+]+://", text)
        if scheme:
            raise ReferenceError(f"{text!r} starts with a scheme: write it without {scheme.group()!r}")
        if "@" not in text:
            if re.fullmatch(r"(sha256:)?[0-9a-fA-F]{12,64}", text):
                raise ReferenceError(
                    f"{text!r} is an image id or a bare digest without its repository: write host/path@sha256:<64 hex>"
                )
            tag = _tag_of(text)
            said = f"names the tag {tag!r}" if tag else "names no digest"
            raise ReferenceError(
                f"{text!r} {said}: a tag can move, so write {_without_tag(text) or 'host/path'}@sha256:<64 hex> "
                "(`python -m modelimage inspect REF` prints the digest of a tag)"
            )
        repository, _, digest = text.partition("@")
        if _tag_of(repository):
            raise ReferenceError(
                f"{text!r} has a tag beside the digest (Kubernetes then pulls as the tag says): "
                f"write {_without_tag(repository)}@{digest}"
            )
        return cls(repository, digest)

    @property
    def host(self) -> str:
        """The registry's host, with its port when there is one."""
        return self.repository.partition("/")[0]

    @property
    def digest_tag(self) -> str:
        """The digest spelled as a tag, `sha256-<hex>`: immutable, since it names its own content."""
        return self.digest.replace(":", "-")

    @property
    def modelcar_uri(self) -> str:
        """KServe's `storageUri` for the modelcar sidecar."""
        return f"oci://{self}"

    @property
    def native_uri(self) -> str:
        """KServe's `storageUri` for an image volume (KServe v0.20, pkg/utils: scheme `oci+native`)."""
        return f"oci+native://{self}"

    @property
    def kubeai_url(self) -> str:
        """KubeAI's `url`: its pattern has no `@` (CRD of commit 0d7de291), so the digest's own tag stands in."""
        return f"oci://{self.repository}:{self.digest_tag}"

    def uri(self, delivery: str) -> str:
        """The URI of one delivery: `modelcar`, `native` or `kubeai`.

        Raises:
            KeyError: there is no such delivery.
        """
        return {"modelcar": self.modelcar_uri, "native": self.native_uri, "kubeai": self.kubeai_url}[delivery]

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


def is_repository(text: str) -> bool:
    """Whether the text is `host[:port]/path`, without tag or digest."""
    return _REPOSITORY.fullmatch(text) is not None


def is_by_digest(text: str) -> bool:
    """Whether the text is `host[:port]/path@sha256:<64 hex>`."""
    try:
        ImageReference.parse(text)
    except ReferenceError:
        return False
    return True


def _tag_of(text: str) -> str:
    last = text.rpartition("/")[2]
    return last.partition(":")[2] if "/" in text else ""


def _without_tag(text: str) -> str:
    tag = _tag_of(text)
    return text[: -len(tag) - 1] if tag else text


def _why_no_repository(repository: str) -> str:
    if repository != repository.lower() and _REPOSITORY.fullmatch(repository.lower()):
        return f"repository {repository!r} has uppercase letters, which registries refuse: write {repository.lower()!r}"
    if "/" not in repository or not re.match(_HOST_OR_PORT + "/", repository):
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
