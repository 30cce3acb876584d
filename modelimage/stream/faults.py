"""What ends the sidecar, each with its own line: people and the diagnosis read the last one that it leaves.

The beginnings and the statuses in brackets are a contract: `watch` knows them by heart.
"""

from modelimage.errors import DigestMismatchError, ImageError, NotFoundError, first_line
from modelimage.refusals import RegistryError
from oci_model_serving.reference import RegistryReference

LINE = "stream: "
"""What the lines begin with."""
_LOGIN = (
    "give it a login (a stack: `pullSecrets`), or let the pod's service account read the repository "
    "(roles/artifactregistry.reader)"
)


class StreamFault(ImageError):  # noqa: N818 - what is said of it is its last word, not an error among others
    """The image cannot be served; the sidecar ends with this message."""


class CorruptFault(StreamFault):
    """What the registry gives is not what the image's digest says."""

    exit_code = 3


def refused(where: str, status: int, *, what: str = "") -> StreamFault | None:
    """The fault that a registry's refusal is, for good; None for another status than those of rights and of absence.

    Args:
        where: the image.
        status: of the answer.
        what: the part of the image, where it is not all of it.
    """
    part = f"{where}: {what}" if what else where
    if status == 404:
        return StreamFault(f"{part} is not there (404): was it removed from the registry? Build or copy it again")
    if status == 401:
        return StreamFault(f"{part} wants credentials (401): {_LOGIN}")
    if status == 403:
        return StreamFault(f"{part} may not be read (403): {_LOGIN}")
    return None


def as_fault(error: ImageError, reference: RegistryReference) -> ImageError:
    """An error of the rooms that read manifests, as the line that the sidecar leaves."""
    where = str(reference)
    if isinstance(error, StreamFault):
        return error
    if isinstance(error, NotFoundError):
        return refused(where, 404) or error
    if isinstance(error, RegistryError) and (fault := refused(where, error.status)):
        return fault
    if isinstance(error, DigestMismatchError):
        return CorruptFault(f"{where} is not what its digest says: {error}")
    return StreamFault(str(error) if str(error).startswith(where) else f"{where}: {error}")


def ignored_ranges(host: str) -> StreamFault:
    """What is said of a registry that gives blobs as a whole only."""
    return StreamFault(
        f"{host} ignores ranges: it, or a proxy before it, gives blobs as a whole only: deliver the image as a volume"
    )


def mismatch(where: str, number: int, *, listed: bool) -> CorruptFault:
    """What is said of a chunk that is another one than its list says, or than it was; `where` is image and layer."""
    image, _, layer = where.rpartition(": ")
    compared = "its list says" if listed else "it was when it was read before"
    return CorruptFault(f"{image}: chunk {number} of {layer} is not what {compared}: the registry gives other bytes")


def other_bytes(where: str) -> CorruptFault:
    """What is said of a layer whose bytes do not have its digest; `where` is image and layer."""
    return CorruptFault(f"{where} is not what its digest says: the registry gives other bytes")


def unexpected(error: BaseException) -> StreamFault:
    """What is said of an error of our own."""
    return StreamFault(
        f"unexpected {type(error).__name__}: {first_line(error)}: this is a fault of the program: report it"
    )
