"""Where a source is: what its text names is decided here alone, and the module that reads it is picked here alone."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelimage import hub_address
from modelimage.source import Selection, Source
from oci_model_serving.errors import InputError
from oci_model_serving.reference import LAYOUT_SCHEME

if TYPE_CHECKING:
    from modelimage.patience import Patience
    from modelimage.progress import Reporter


class Origin(Enum):
    """A kind of place where weights come from; the value is the scheme of its addresses."""

    FOLDER = ""
    HUB = "hf"
    BUCKET = "gs"
    IMAGE = "oci"


FORMS = "a folder, hf://org/name@<commit>, gs://bucket/prefix or oci://HOST/REPO@sha256:…"
"""What a source may be, for a person."""


def origin_of(uri: str) -> Origin:
    """What a source's text names, one of `FORMS`; an image may lie in a layout, `oci:FOLDER@sha256:…`.

    Raises:
        InputError: it is of no kind that there is.
    """
    scheme, separator, _ = uri.partition("://")
    if uri.startswith(LAYOUT_SCHEME):
        return Origin.IMAGE
    if not separator:
        return Origin.FOLDER
    if scheme in {"http", "https"} and hub_address.read(uri):
        raise InputError(f"{uri!r}: {hub_address.mistake(uri)}")
    if scheme not in {Origin.HUB.value, Origin.BUCKET.value}:
        raise InputError(f"{uri!r}: no such kind of source: give {FORMS}")
    return Origin(scheme)


class _Place(Protocol):
    def parse(self, uri: str) -> object: ...

    def local_folder(
        self, uri: str, selection: Selection, patience: "Patience", reporter: "Reporter", cache: Path, /
    ) -> Path: ...


class _Listing(_Place, Protocol):
    def open_source(self, uri: str, selection: Selection, patience: "Patience", /) -> Source: ...


def _place(uri: str) -> _Place:
    if origin_of(uri) is Origin.IMAGE:
        from modelimage import stored_model  # noqa: PLC0415

        return stored_model
    return _listing(uri)


def _listing(uri: str) -> _Listing:
    # Each is imported when it is needed: the hub's and Google's libraries take a second to load.
    origin = origin_of(uri)
    if origin is Origin.HUB:
        from modelimage import hub  # noqa: PLC0415

        return hub
    if origin is Origin.BUCKET:
        from modelimage import bucket  # noqa: PLC0415

        return bucket
    from modelimage import folder  # noqa: PLC0415

    return folder


def check_source(uri: str) -> None:
    """Check what a source's text says, without listing the source."""
    _place(uri).parse(uri)


def open_source(uri: str, selection: Selection, patience: "Patience") -> Source:
    """List a source that is no image: an image is opened while it is packed, by `stored_model`.

    Raises:
        InputError: the source is empty, unreadable, not pinned or unsafe to pack; the message lists all problems.
        ImageError: the source cannot be reached.
    """
    return _listing(uri).open_source(uri, selection, patience)


def local_folder(uri: str, selection: Selection, patience: "Patience", reporter: "Reporter", cache: Path) -> Path:
    """A folder on this machine that holds the source's files; what is elsewhere is fetched."""
    return _place(uri).local_folder(uri, selection, patience, reporter, cache)
