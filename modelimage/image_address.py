"""How an image, or a model's artifact, is written as a source: `oci://HOST/REPO@sha256:…`, `oci:FOLDER@sha256:…`.

The second is in an OCI image layout on this machine.
"""

from oci_model_serving import reference as references
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LAYOUT_SCHEME, Reference, RegistryReference

SCHEME = f"{LAYOUT_SCHEME}//"


def read(uri: str) -> Reference:
    """The image that an address names, by digest or not.

    Raises:
        InputError: it is malformed.
    """
    in_registry = uri.startswith(SCHEME)
    try:
        return references.parse(uri.removeprefix(SCHEME))
    except InputError as error:
        form = "oci://HOST/REPO@sha256:…" if in_registry else "oci:FOLDER@sha256:…"
        raise InputError(f"{uri!r}: write {form}: {'; '.join(error.problems)}") from error


def is_pinned(uri: str) -> bool:
    """Tell whether a text names an image by its digest."""
    try:
        return read(uri).digest is not None
    except InputError:
        return False


def mistake(uri: str, digest: str = "") -> str:
    """What is wrong with an address that is malformed or has no digest, and what to write; "" for one that has it.

    `digest` is the one to write, where it is known.
    """
    try:
        reference = read(uri)
    except InputError as error:
        return str(error).removeprefix(f"{uri!r}: ")
    if reference.digest:
        return ""
    in_registry = isinstance(reference, RegistryReference)
    tag = reference.tag if isinstance(reference, RegistryReference) else None
    what = f"{tag!r} is a tag, which may mean another image tomorrow" if tag else "there is no digest"
    form = f"{SCHEME if in_registry else ''}{reference.at(digest or 'sha256:<64 hex digits>')}"
    return f"{what}: write {form}" + ("" if digest else f"; `oms image inspect {reference}` prints it")
