"""What a model is that a stack is to be written for: asked of the hub, a registry, a folder or another stack."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.settings.stack_file import Project, read_config
from components.settings.types import GB
from modelimage import hub_address, image_address
from modelimage.errors import ImageError
from modelimage.forecast import Forecast, Prospect, forecasts
from modelimage.origins import Origin, origin_of
from modelimage.progress import readable
from modelimage.source import Selection
from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.reference import parse_registry

_HUB_SECONDS = 60.0
_FORMS = (
    "write hf://org/name (with @revision, if you like), a folder of weights, gs://bucket/prefix, "
    "oci://HOST/REPO@sha256:… to pack an artifact anew, or HOST/REPO@sha256:… for an image of this project"
)
_UNASKED = "name a folder of weights, or the model with its commit, hf://org/name@<40-hex commit>, and --size-gb"
_IF_GATED = (
    "accept its terms at {page} and make a token that may read it (docs/gated-model.md), then "
    "`read -rs HF_TOKEN && export HF_TOKEN`, and start this again"
)


@dataclass(frozen=True)
class NamedModel:
    """A model of a stack that is not written yet.

    Attributes:
        key: its name in the stack.
        settings: what the stack's file says of its image.
        size_gb: of the image, in GB.
        told: what a person should know of it, in lines.
        gated: the build needs the hub's token.
        judged_as: what the image was built from, where the settings name another stack: checks can look at that.
    """

    key: str
    settings: dict[str, Any]
    size_gb: float
    told: tuple[str, ...] = ()
    gated: bool = False
    judged_as: dict[str, Any] | None = None


def named(text: str, project: Project, *, allow: Sequence[str] = (), size_gb: float | None = None) -> NamedModel:
    """Look a model up, and pin it: to the hub's commit, or to the digest of a tag.

    Args:
        text: as a person names it.
        project: to whose folder a path in the stack's file is relative.
        allow: patterns of the files to take, where a source has several models in it.
        size_gb: what the person says of its size, where nothing else tells.

    Raises:
        InputError: there is no such model, it cannot be packed, or its size is not known.
        ImageError: who knows it cannot be reached, or may not tell.
    """
    folder = Path(text).expanduser()
    if "://" not in text and (folder.is_dir() or text.startswith((".", "/", "~"))):
        return _folder(folder, project, allow)
    if hub_address.read(text):
        return _of_hub(text, allow, size_gb)
    if not {"/", ":"} & set(text):
        raise InputError(f"{text!r} is no folder here, and names no model otherwise: {_FORMS}")
    if image_address.SCHEME in text[:6] or "@sha256:" in text or "://" not in text:
        return _image(text, size_gb)
    if origin_of(text) is Origin.BUCKET:
        return _sized(_key(text), {"source": text, **_files(allow)}, size_gb, "of a bucket is not asked for here")
    raise InputError(f"{text!r} names no model: {_FORMS}")


def promoted(
    stack: str, model: str, project: Project, *, size_gb: float | None = None, only: bool = False
) -> NamedModel:
    """The model of another stack, whose image is taken as it is.

    Its size is asked of whom that stack of this project names. `model` is its key there; with `only` it is a guess, and
    the one model of a stack is taken whatever it is called.

    Raises:
        InputError: there is none, or its size is not known.
        ImageError: who knows its size cannot be reached.
    """
    short = stack.rpartition("/")[2]
    settings = {"fromStack": stack, "copy": True}
    if short not in project.stacks() or stack.split("/")[1:2] != [project.name]:
        return _sized(_key(model), _of_key(settings, model), size_gb, f"in stack {stack} is not known here")
    models = read_config(project, short).models
    if model not in models and not (only and len(models) == 1):
        raise InputError(f"--model {model}: stack {short} has {', '.join(models) or 'no model'}: write its key there")
    key = model if model in models else next(iter(models))
    its = models[key]
    said = its.get("sizeGb") or size_gb
    source = its.get("source") or its.get("digest")
    if not source:
        return _sized(key, settings, said, f"in stack {stack} is not known here")
    if said and not hub_address.is_pinned(str(source)):
        return _sized(key, settings, said, "")
    allow = (its.get("files") or {}).get("allow") or ()
    folder = project.folder / str(source)
    found = named(str(folder if folder.is_dir() else source), project, allow=allow, size_gb=said)
    return NamedModel(key, settings, found.size_gb, found.told, judged_as=found.settings)


def _of_key(settings: dict[str, Any], model: str) -> dict[str, Any]:
    return settings if _key(model) == model else {**settings, "model": model}


def _of_hub(text: str, allow: Sequence[str], size_gb: float | None) -> NamedModel:
    from modelimage.patience import GaveUpError
    from modelimage.reach import UnreachableError
    from modelimage.resolve import resolve

    said = size_gb if hub_address.is_pinned(text) else None  # both are all that a stack's file needs
    if hub_address.is_offline():
        if said is None:
            raise InputError(
                f"HF_HUB_OFFLINE is set, and a model of the hub is looked up there: unset it, or {_UNASKED}"
            )
        return _not_asked(text, allow, said, "HF_HUB_OFFLINE is set")
    try:
        found = resolve(text, allow=allow)
    except (UnreachableError, GaveUpError) as error:
        if said is None:
            raise ImageError(f"{error}; where the hub cannot be reached, {_UNASKED}") from error
        return _not_asked(text, allow, said, str(error))
    address = hub_address.parse(found.source)
    page = f"{hub_address.HUB}/{address.repository}"
    if found.image is None:
        why = "; ".join(found.notes)
        raise ImageError(f"{why}: {_IF_GATED.format(page=page)}" if found.gated else why)
    if found.image.problems:
        raise InputError(*(f"{found.source}: {problem}" for problem in found.image.problems))
    # What is told of a commit is kept: the checks below, and the plans to come, ask the hub no more.
    forecasts({"": Prospect(found.source, Selection(tuple(allow)))}, seconds=_HUB_SECONDS)
    return _foretold(_key(address.repository), found.source, allow, found.image, gated=found.gated, more=found.notes)


def _not_asked(source: str, allow: Sequence[str], size_gb: float, why: str) -> NamedModel:
    """A model of the hub that could not be looked up: its commit and its size are said."""
    key = _key(hub_address.parse(source).repository)
    told = f"{source}: {readable(size_gb * GB)}, as was said, and not looked up"
    return NamedModel(key, {"source": source, **_files(allow)}, size_gb, (told, why))


def _folder(folder: Path, project: Project, allow: Sequence[str]) -> NamedModel:
    path = folder.resolve()
    if not path.is_dir():
        raise InputError(f"{folder} is no folder: name a folder of weights")
    inside = path.is_relative_to(project.folder.resolve())
    source = os.path.relpath(path, project.folder.resolve()) if inside else str(path)
    found = forecasts({"": Prospect(str(path), Selection(tuple(allow)))})[""]
    if found is None:
        raise ImageError(f"{folder} cannot be read: is it being written to?")
    if found.problems:
        raise InputError(*(f"{folder}: {problem}" for problem in found.problems))
    return _foretold(_key(path.name), source, allow, found)


def _image(text: str, size_gb: float | None) -> NamedModel:
    artifact = text.startswith(image_address.SCHEME)
    place = parse_registry(text.removeprefix(image_address.SCHEME))
    pinned = f"{place.host}/{place.repository}@{place.digest}" if place.digest else _by_digest(text, artifact=artifact)
    if artifact:
        source = image_address.SCHEME + pinned
        found = forecasts({"": Prospect(source)}, seconds=_HUB_SECONDS)[""]
        if found is None:
            return _sized(_key(place.repository), {"source": source}, size_gb, "is not told by its registry")
        if found.problems:
            raise InputError(*(f"{source}: {problem}" for problem in found.problems))
        return _foretold(_key(place.repository), source, (), found)
    if size_gb is None:
        import modelimage

        size_gb = modelimage.inspect(pinned).size_bytes / GB
    return _sized(_key(place.repository), {"digest": pinned}, size_gb, "")


def _by_digest(text: str, *, artifact: bool) -> str:
    from oms.pin import digest_of

    name = text.removeprefix(image_address.SCHEME)
    digest = digest_of(name)
    if isinstance(digest, OmsError):
        raise InputError(f"{text}: {digest}" + ("" if artifact else f"; {_FORMS}"))
    place = parse_registry(name)
    return f"{place.host}/{place.repository}@{digest}"


def _foretold(
    key: str, source: str, allow: Sequence[str], found: Forecast, *, gated: bool = False, more: Sequence[str] = ()
) -> NamedModel:
    size = found.size_bytes / GB
    what = ", ".join(filter(None, [found.format, found.traits.architecture, found.traits.task]))
    told = (f"{source}: {readable(found.size_bytes)} in {found.layers} layers ({what})", *more)
    return NamedModel(key, {"source": source, **_files(allow)}, size, told, gated)


def _sized(key: str, settings: dict[str, Any], size_gb: float | None, why: str) -> NamedModel:
    if size_gb is None:
        raise InputError(f"the size of {key} {why}: say it by --size-gb")
    return NamedModel(key, settings, size_gb, (f"{key}: {readable(size_gb * GB)}",))


def _files(allow: Sequence[str]) -> dict[str, Any]:
    return {"files": {"allow": list(allow)}} if allow else {}


def _key(name: str) -> str:
    """A model's key of a repository's, folder's or image's name."""
    last = name.rstrip("/").rpartition("/")[2].lower()
    return re.sub(r"[^a-z0-9.-]+", "-", last).strip("-.") or "model"
