"""What an image is made of: files with known sizes, wherever they lie, and the choice among them.

`folder`, `hub`, `bucket` and `stored_model` list a source, `origins` tells which a text names, `rules` judges what was
listed: the same files make the same image from any of them.
"""

import fnmatch
import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from modelimage.errors import ImageError
from oci_model_serving.reference import DIGEST

CHUNK_BYTES = 1 << 20
"""How much is read, hashed and sent at a time: large enough that system calls and thread switches cost nothing."""


class Checksum(Protocol):
    """A running checksum over a file's content, from its first byte on."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""

    def copy(self) -> "Checksum":
        """The same at this point, to go on from it a second time."""

    def verify(self) -> None:
        """Raise ImageError unless what was taken is what the source has listed."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a model: `path` in POSIX form below the model's root and `size` in bytes.

    `read_range` starts a fresh pass over the bytes from `start` up to `end` and yields exactly those or raises
    ImageError. `identity` changes whenever the content may have: it is what a remembered digest hangs on. `changed_at`
    is when the file was last changed (seconds since the epoch), for sources whose identity can lag behind a change;
    None for others. `local` is where the file lies, if it is on a disk. `checksum`
    begins a check of the whole content, where the source has listed what that must be. `part_of` is the file that
    this one is cut out of, if it is a part that no source has. `published` says that its publisher has committed this
    very content, so that it need not be looked into.
    """

    path: str
    size: int
    identity: str
    read_range: Callable[[int, int], Iterator[bytes]]
    changed_at: float | None = None
    local: str | None = None
    checksum: Callable[[], Checksum] | None = None
    part_of: "Whole | None" = None
    published: bool = False

    @classmethod
    def of(cls, path: str, content: bytes) -> "SourceFile":
        """A file of bytes at hand; they are kept compressed."""
        packed = zlib.compress(content, 1)
        identity = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return cls(path, len(content), identity, lambda start, end: iter((zlib.decompress(packed)[start:end],)))

    @classmethod
    def quickly(cls, **fields: Any) -> "SourceFile":
        """The same as the class called with these fields, in a third of the time: there may be tens of thousands."""
        file = object.__new__(cls)
        file.__dict__.update(fields)
        return file

    @property
    def sha256(self) -> str:
        """The digest of the content (`sha256:…`), where the source lists it; empty elsewhere."""
        return self.identity if DIGEST.fullmatch(self.identity) else ""

    @property
    def is_known_by_content(self) -> bool:
        """Whether the identity is a hash of the content, or of what it is cut out of: the same on any machine.

        A bucket's generation is none: the same file has another one in another bucket, and at each upload, and the
        MD5 and CRC-32C that a bucket lists are no proof of content.
        """
        return self.identity.startswith(("sha256:", "git:"))

    @property
    def is_at_hand(self) -> bool:
        """Whether reading it twice costs no network: it is on a disk here, or made of bytes in memory."""
        origin = self.part_of.file if self.part_of else self
        return origin.local is not None or origin.checksum is None

    def read(self) -> Iterator[bytes]:
        """Start a fresh pass over the whole content, checked at its end: `size` bytes, or ImageError."""
        chunks = self.read_range(0, self.size)
        return _checked(chunks, self.checksum()) if self.checksum else chunks

    def at_hand(self) -> "SourceFile":
        """The same with its content read, which is not read again; only `read` checks it, where there is a checksum."""
        return _Held.of_file(self, self.head(self.size))

    def head(self, limit: int) -> bytes:
        """The first `limit` bytes, or all where there are fewer; the rest is not read, and nothing is checked."""
        return b"".join(self.read_range(0, min(limit, self.size)))


class _Held(SourceFile):
    """A file whose content was read: it is not read again."""

    content: bytes

    @classmethod
    def of_file(cls, file: SourceFile, content: bytes) -> "_Held":
        held = object.__new__(cls)
        # dataclasses.replace sets every field anew, which for small files costs as much as reading them.
        held.__dict__.update(file.__dict__, content=content)
        return held

    def head(self, limit: int) -> bytes:
        return self.content[:limit]

    def read(self) -> Iterator[bytes]:
        chunks = iter((self.content,))
        return _checked(chunks, self.checksum()) if self.checksum else chunks


def _checked(chunks: Iterator[bytes], checksum: Checksum) -> Iterator[bytes]:
    for chunk in chunks:
        checksum.update(chunk)
        yield chunk
    checksum.verify()


class Whole:
    """A file that is packed in parts, and the check of its whole content while the parts are read in order.

    Each byte that goes into a part is checked in the pass that packs it. The checksum's state at each part's end is
    kept, so that a part which is sent a second time is read a second time and nothing else is. What lies before a part
    and was not read (its own part was packed in an earlier run) is read for the check alone.

    Attributes:
        file: the file as its source has it.
        checking: whether passes are checked: not where an earlier run has checked the whole and every part's
            digest is known from it.
        passed: called with what is read for the check alone; may raise to end the reading.
    """

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.checking = file.checksum is not None
        self.passed: Callable[[bytes], None] = lambda _: None
        self._states: dict[int, Checksum] = {}

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`."""
        if not self.checking:
            yield from self.file.read_range(start, end)
            return
        state = self._state_at(start)
        for chunk in self.file.read_range(start, end):
            state.update(chunk)
            yield chunk
        self._states[end] = state

    def verify(self) -> None:
        """Read what is left, and raise ImageError unless all that was read is what the source has listed."""
        if self.checking:
            self._state_at(self.file.size).verify()

    def _state_at(self, position: int) -> Checksum:
        known = max((end for end in self._states if end <= position), default=0)
        if known in self._states:
            state = self._states[known].copy()
        elif self.file.checksum:
            state = self.file.checksum()
        else:
            raise ImageError(f"{self.file.path}: its source lists no checksum")
        if known < position:
            for chunk in self.file.read_range(known, position):
                self.passed(chunk)
                state.update(chunk)
            self._states[position] = state.copy()
        return state


def _unchanged() -> None:
    """Accept a source that cannot change: a commit or an object's generation."""


@dataclass(frozen=True)
class Source:
    """A listed source: its files in order of their paths, its annotations, and what a person should be told.

    `verify` raises ImageError when the files are no longer those that were listed; it is asked last, before an
    image is given its name. `pickles` are the paths of those files that are to be made safetensors of first. `is_read`
    says that all of it was read to list it, so that nobody's word on its layers would spare anything.
    """

    uri: str
    files: tuple[SourceFile, ...]
    annotations: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verify: Callable[[], None] = _unchanged
    pickles: tuple[str, ...] = ()
    is_read: bool = False


@dataclass(frozen=True)
class Selection:
    """Which of a source's files go into the image.

    `allow` and `ignore` are shell patterns on the path below the model's root (`*` also matches `/`, and a
    pattern that ends in `/` means all below it), as huggingface_hub's `allow_patterns` and `ignore_patterns`.
    Files and folders whose name begins with a dot are left out in any case: they are a tool's notes (.git, .cache),
    and `.wh.` names would be read as deletions by container runtimes.

    `pickle` lets weights be packed that run code when they are loaded; `convert` makes safetensors of them instead.
    `adapter` says that the source is a LoRA adapter, which is served on top of another model.
    """

    allow: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    pickle: bool = False
    convert: bool = False
    adapter: bool = False

    def takes(self, path: str) -> bool:
        """Tell whether the file at `path` goes into the image."""
        if path.startswith(".") or "/." in path:
            return False
        if self.allow and not any(_matches(path, pattern) for pattern in self.allow):
            return False
        return not (self.ignore and self.ignores(path))

    def ignores(self, path: str) -> bool:
        """Tell whether one of `ignore` is about the file at `path`."""
        return any(_matches(path, pattern) for pattern in self.ignore)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, f"{pattern}*" if pattern.endswith("/") else pattern)
