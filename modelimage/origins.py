"""Where a source is: what its text names is decided here alone, and the module that reads it is picked here alone."""

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelimage import hub_address
from modelimage.source import Selection, Source
from oci_model_serving.errors import InputError

if TYPE_CHECKING:
    from modelimage.patience import Patience
    from modelimage.progress import Reporter


class Origin(Enum):
    """A kind of place where weights come from; the value is the scheme of its addresses."""

    FOLDER = ""
    HUB = "hf"
    BUCKET = "gs"


def origin_of(uri: str) -> Origin:
    """What a source's text names: a folder's path, `hf://org/name@<commit>` or `gs://bucket/prefix`."""
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return Origin.FOLDER
    if scheme in {"http", "https"} and hub_address.read(uri):
        raise InputError(f"{uri!r}: {hub_address.mistake(uri)}")
    if scheme not in {Origin.HUB.value, Origin.BUCKET.value}:
        raise InputError(f"{uri!r}: no such kind of source: give a folder, hf://org/name@<commit> or gs://bucket/…")
    return Origin(scheme)


class _SourceModule(Protocol):
    def parse(self, uri: str) -> object: ...

    def open_source(self, uri: str, selection: Selection, patience: "Patience", /) -> Source: ...

    def local_folder(
        self, uri: str, selection: Selection, patience: "Patience", reporter: "Reporter", cache: Path, /
    ) -> Path: ...


def _module(uri: str) -> _SourceModule:
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
    _module(uri).parse(uri)


def open_source(uri: str, selection: Selection, patience: "Patience") -> Source:
    """List a source.

    Raises:
        InputError: the source is empty, unreadable, not pinned or unsafe to pack; the message lists all problems.
        ImageError: the source cannot be reached.
    """
    return _module(uri).open_source(uri, selection, patience)


def local_folder(uri: str, selection: Selection, patience: "Patience", reporter: "Reporter", cache: Path) -> Path:
    """A folder on this machine that holds the source's files; what is elsewhere is fetched."""
    return _module(uri).local_folder(uri, selection, patience, reporter, cache)
