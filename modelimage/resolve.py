"""What a model of the hub is, for somebody who is about to name it: its pinned form, and what would be packed of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from modelimage import hub, hub_address, hub_client, licences
from modelimage.errors import ImageError
from modelimage.forecast import Forecast, described
from modelimage.hub_refusals import hub_errors
from modelimage.patience import Patience, RetryPolicy
from modelimage.progress import readable
from modelimage.reshard import ShardSize
from modelimage.source import Selection
from oci_model_serving.errors import InputError


@dataclass(frozen=True)
class ListedFile:
    """A file of the commit; `packed` tells whether it would go into the image."""

    path: str
    size: int
    packed: bool


@dataclass(frozen=True)
class Resolved:
    """A model of the hub.

    Attributes:
        source: `hf://org/name@<commit>`, as a stack's `source` takes it.
        license: as its card names it; empty where it names none.
        gated: its files are given to accounts that have accepted its terms.
        image: what it would become; None where its files may not be read, which `notes` then tell.
        files: all files of the commit.
        notes: what a person should be told.
    """

    source: str
    license: str
    gated: bool
    image: Forecast | None
    files: tuple[ListedFile, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """What `--json` prints; with all files and their sizes it is also a record of the listing."""
        image = self.image or Forecast()
        return {
            "source": self.source,
            "license": self.license,
            "gated": self.gated,
            "size_bytes": image.size_bytes,
            "layers": image.layers,
            "layer_sizes": image.layer_sizes,
            "format": image.format,
            "architecture": image.traits.architecture,
            "task": image.traits.task,
            "problems": image.problems,
            "notes": self.notes,
            "files": [asdict(file) for file in self.files],
        }

    def lines(self) -> list[str]:
        """What a person reads."""
        lines = [f"source: {self.source}", f"license: {self.license or 'its card names none'}"]
        if self.gated:
            lines.append(f"gated: accept its terms at {hub_address.HUB}/{_repository(self.source)}, and set HF_TOKEN")
        image = self.image
        if image and not image.problems:
            largest = readable(max(image.layer_sizes, default=0))
            lines += [
                f"size: {readable(image.size_bytes)} ({image.size_bytes} bytes) in {image.layers} layers, the largest "
                f"{largest}",
                f"format: {image.format or 'no weights'}",
                f"architecture: {image.traits.architecture or 'its config.json names none'}",
                f"task: {image.traits.task}",
            ]
        lines += [f"note: {note}" for note in self.notes]
        return [*lines, *(f"cannot be packed: {problem}" for problem in (image.problems if image else ()))]


def resolve(
    model: str,
    *,
    allow: Sequence[str] = (),
    ignore: Sequence[str] = (),
    shard_gb: ShardSize = "auto",
    pickle: bool = False,
    convert: bool = False,
    adapter: bool = False,
    policy: RetryPolicy | None = None,
) -> Resolved:
    """Look up a model: `hf://org/name`, with or without a revision, `org/name`, or the address of its page.

    The other arguments are those of `packer.pack`.

    Raises:
        InputError: the text names no model of the hub.
        ImageError: the hub cannot be reached, or has no such model.
    """
    address = hub_address.read(model)
    if address is None:
        raise InputError(f"{model!r} names no model of the hub: give hf://org/name, org/name or its page's address")
    patience = Patience(policy or RetryPolicy(attempts=3))
    selection = Selection(tuple(allow), tuple(ignore), pickle, convert, adapter)
    card = patience.retrying()(_card, address)
    repository, commit = card["id"], card["sha"]
    source = f"hf://{repository}@{commit}"
    notes = [] if repository == address.repository else [f"{address.repository} is called {repository} now"]
    image: Forecast | None = None
    packed = frozenset[str]()
    try:
        listed = hub.open_source(source, selection, patience)
        packed = frozenset(file.path for file in listed.files)
        image = described(listed, shard_gb)
        notes += image.notes
    except InputError as error:
        image = Forecast(problems=tuple(error.problems))
    except ImageError as error:
        notes.append(f"what would be packed cannot be told: {error}")
    files = patience.retrying()(_files, repository, commit)
    return Resolved(
        source,
        licences.of_card(card.get("cardData")),
        bool(card.get("gated")),
        image,
        tuple(ListedFile(path, size, path in packed) for path, size in files),
        tuple(notes),
    )


def _card(address: hub_address.HubAddress) -> dict[str, Any]:
    with hub_errors(f"looking up {address.repository}"):
        card = hub_client.model_card(address.repository, address.revision)
        found = hub_address.HubAddress(str(card["id"]), str(card["sha"]))
        if not hub_address.is_pinned(found.form):
            raise ImageError(f"looking up {address.repository}: the hub's answer names no commit: check HF_ENDPOINT")
        return card


def _files(repository: str, commit: str) -> list[tuple[str, int]]:
    with hub_errors(f"listing hf://{repository}@{commit}"):
        return sorted((entry.path, entry.size) for entry in hub_client.files(repository, commit))


def _repository(source: str) -> str:
    return hub_address.parse(source).repository
