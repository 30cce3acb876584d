"""What a source will become, told before anything is packed: its size, its layers, and why it cannot be packed.

For a plan. A folder is looked at; a commit of the hub, and an image by its digest, are asked for within a few seconds
for all of a stack's models together, and remembered: they never change. What cannot be told is None, and never an
error: the build tells it.
"""

import hashlib
import json
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelimage import dimensions, hub_address, image_address, licences
from modelimage.cache import default_folder, read_entry, write_entry
from modelimage.dimensions import Dimensions
from modelimage.errors import ImageError
from modelimage.layers import notes_on, plan_layers
from modelimage.origins import Origin, open_source, origin_of
from modelimage.reshard import ShardSize
from modelimage.source import Selection, Source
from modelimage.traits import Traits, config_of, read_once, traits_of
from modelimage.weights import format_of, is_weights
from oci_model_serving.errors import InputError
from oci_model_serving.reference import RegistryReference

if TYPE_CHECKING:
    from modelimage.patience import RetryPolicy

BOUND_SECONDS = 3.0
"""How long a plan waits for the hub and for registries, for all models together."""

_BASE_LAYERS = 1  # the default base's, a busybox
_ALL = Selection()
_silent: set[str] = set()
"""Hubs and registries that did not answer in time in this run: they are not waited for again."""


@dataclass(frozen=True)
class Forecast:
    """What a source will become.

    Attributes:
        layer_sizes: size of each layer in bytes, the weights' first, that of the chunk lists last; without the base's.
            Empty where it is refused.
        format: of the weights, by the most bytes: safetensors, gguf, pytorch …; empty without weights.
        traits: what its files say to a server.
        dimensions: how large the model is in a server's memory.
        licence: under which it is published, as its card says; empty where that tells none.
        notes: what a person should be told of it.
        problems: why it cannot be packed; empty where it can.
    """

    layer_sizes: tuple[int, ...] = ()
    format: str = ""
    traits: Traits = field(default_factory=Traits)
    dimensions: Dimensions = field(default_factory=Dimensions)
    licence: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the image without its base."""
        return sum(self.layer_sizes)

    @property
    def layers(self) -> int:
        """How many layers the image has above its base."""
        return len(self.layer_sizes)


@dataclass(frozen=True)
class Prospect:
    """A source to tell of: which of its files, in shards of which size, and with which token the hub is asked."""

    source: str
    selection: Selection = _ALL
    shard_gb: ShardSize = "auto"
    token: str | None = field(default=None, repr=False)


def forecasts(wanted: Mapping[str, Prospect], *, seconds: float = BOUND_SECONDS) -> dict[str, Forecast | None]:
    """What several sources will become, by the same keys; all waiting for answers is over after `seconds`."""
    told: dict[str, Forecast | None] = {}
    asked: dict[str, _Question] = {}
    deadline = time.monotonic() + seconds
    for key, one in wanted.items():
        told[key] = None
        with suppress(InputError):
            origin = origin_of(one.source)
            if origin is Origin.FOLDER or (origin is Origin.IMAGE and not one.source.startswith(image_address.SCHEME)):
                told[key] = _told_of_disk(one)
            elif _is_pinned(origin, one.source):
                told[key] = _remembered(one)
                offline = origin is Origin.HUB and hub_address.is_offline()
                if told[key] is None and not offline and _asked_at(one) not in _silent:
                    asked[key] = _Question(one)
    for key, question in asked.items():
        told[key] = question.answer(deadline)
    return told


def _is_pinned(origin: Origin, source: str) -> bool:
    """Tell whether an address is of what never changes and can be asked for."""
    if origin is Origin.HUB:
        return hub_address.is_pinned(source)
    return origin is Origin.IMAGE and image_address.is_pinned(source)


def _asked_at(wanted: Prospect) -> str:
    """The address of what is asked: the hub's, or the registry's."""
    if origin_of(wanted.source) is not Origin.IMAGE:
        return hub_address.endpoint()
    reference = image_address.read(wanted.source)
    return f"https://{reference.host}" if isinstance(reference, RegistryReference) else ""


def described(source: Source, shard_gb: ShardSize = "auto") -> Forecast:
    """What a source that was listed and accepted will become.

    Raises:
        InputError: it cannot be packed in any number of layers.
        ImageError: its configuration cannot be read.
    """
    from modelimage import chunks  # noqa: PLC0415 - a plan without sources needs none

    layers = plan_layers(source.files, base_layers=_BASE_LAYERS, shard_gb=shard_gb, reading=False)
    sizes = [layer.size for layer in layers]
    config = config_of(source.files)
    weights = sum(file.size for file in source.files if is_weights(file.path))
    return Forecast(
        layer_sizes=(*sizes, chunks.layer_size(sizes)),
        format=format_of({file.path: file.size for file in source.files}),
        traits=traits_of(read_once(file, config) for layer in layers for file in layer.files),
        dimensions=dimensions.read(config, weights),
        licence=licences.of_files(source.files),
        notes=(*source.notes, *notes_on(layers, base_layers=_BASE_LAYERS)),
    )


def _looked_at(wanted: Prospect) -> Forecast:
    """Look at a source now.

    Raises:
        ImageError: it cannot be reached.
        EndpointError: where the hub is asked is wrong.
    """
    from modelimage.patience import Patience, RetryPolicy  # noqa: PLC0415 - a plan without sources needs none

    try:
        if origin_of(wanted.source) is Origin.IMAGE:
            return _looked_at_image(wanted, RetryPolicy(attempts=1))
        source = open_source(wanted.source, wanted.selection, Patience(RetryPolicy(attempts=1)))
        return described(source, wanted.shard_gb)
    except hub_address.EndpointError:
        raise
    except InputError as error:
        return Forecast(problems=tuple(error.problems))


def _looked_at_image(wanted: Prospect, policy: "RetryPolicy") -> Forecast:
    from modelimage import stored_model  # noqa: PLC0415 - as above
    from modelimage.images import Session  # noqa: PLC0415

    origin = image_address.read(wanted.source)
    with stored_model.foretold(Session.start(policy=policy), origin, wanted.selection) as source:
        return described(source, wanted.shard_gb)


def _told_of_disk(wanted: Prospect) -> Forecast | None:
    try:
        return _looked_at(wanted)
    except (ImageError, OSError):
        return None  # it changes under our eyes, or is on a disk that fails


class _Question:
    """A question under way in a thread of its own: a name server may be silent for longer than a plan waits.

    An answer that comes late is remembered all the same, for the next plan.
    """

    def __init__(self, wanted: Prospect) -> None:
        self._wanted = wanted
        self._told: Forecast | None = None
        self._refused = False
        self._thread = threading.Thread(target=self._ask, name="forecast", daemon=True)
        self._thread.start()

    def answer(self, deadline: float) -> Forecast | None:
        """The answer, if it is there by `deadline` (of the monotonic clock)."""
        self._thread.join(max(deadline - time.monotonic(), 0))
        if self._told is None and not self._refused:
            _silent.add(_asked_at(self._wanted))
        return self._told

    def _ask(self) -> None:
        if not _is_known(_asked_at(self._wanted)):
            return
        # Loaded here: the libraries take half a second.
        from modelimage.hub_client import asking_with  # noqa: PLC0415
        from modelimage.patience import GaveUpError  # noqa: PLC0415
        from modelimage.reach import UnreachableError  # noqa: PLC0415

        try:
            with asking_with(self._wanted.token):
                told = _looked_at(self._wanted)
        except (UnreachableError, GaveUpError):
            return
        except (ImageError, OSError, hub_address.EndpointError):
            self._refused = True
            return
        _keep(self._wanted, told)
        self._told = told


def _is_known(address: str) -> bool:
    """Tell whether the name of a host resolves, where that is not a proxy's to know: without a network it does not."""
    from modelimage.reach import proxies  # noqa: PLC0415

    try:
        return bool(proxies() or socket.getaddrinfo(urlsplit(address).hostname, None))
    except OSError:
        return False


def _entry(wanted: Prospect) -> Path:
    asked = [_judges(), wanted.source, astuple(wanted.selection), wanted.shard_gb]
    return default_folder() / "forecasts" / hashlib.sha256(json.dumps(asked).encode()).hexdigest()


@cache
def _judges() -> str:
    """A hash of the code that lists and judges: what another version said of a commit is not believed."""
    code = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        code.update(module.read_bytes())
    return code.hexdigest()


def _keep(wanted: Prospect, told: Forecast) -> None:
    write_entry(_entry(wanted), {**asdict(told), "source": wanted.source})


def _remembered(wanted: Prospect) -> Forecast | None:
    kept = read_entry(_entry(wanted))
    if kept.pop("source", None) != wanted.source:
        return None
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()}
    try:
        parts = {"traits": Traits(**given["traits"]), "dimensions": Dimensions(**given["dimensions"])}
        return Forecast(**{**given, **parts})
    except (TypeError, KeyError):
        return None
