"""What a stack's sources will become: sizes that nobody has to write, and refusals before anything is built."""

import os
from collections.abc import Callable, Iterator, Mapping

import pulumi

from components.settings.building import in_secret_manager
from components.settings.image_settings import ImageSettings, adapter_key
from components.settings.sections import Sections
from components.settings.serving import ModelSettings
from components.settings.stack_file import MASK
from components.settings.types import GB
from modelimage import hub_address
from modelimage.forecast import Forecast, Prospect, forecasts
from modelimage.layers import LAYER_COUNT_LIMIT
from modelimage.origins import Origin


def _images(models: Mapping[str, ModelSettings]) -> Iterator[tuple[str, str, ImageSettings]]:
    """Each image with its key among the stack's images and its path in the settings."""
    for key, model in models.items():
        yield key, f"models.{key}", model
        for label, adapter in model.adapters.items():
            yield adapter_key(key, label), f"models.{key}.adapters.{label}", adapter


def forecasts_of(sections: Sections, add: Callable[[str, str], None]) -> dict[str, Forecast]:
    """What the images' sources will become, where that can be told; what cannot be packed is added as a problem."""
    token = sections.hub_token.get_secret_value() if sections.hub_token else None
    if token and (token == MASK or in_secret_manager(token)):
        token = None  # one that this plan cannot read: a wrong one would be refused even where none is needed
    wanted: dict[str, Prospect] = {}
    known = {key: (path, image) for key, path, image in _images(sections.models)}
    for key, (path, image) in known.items():
        # os.path says no, where pathlib raises, of a text that can be no path at all.
        if image.source and image.origin is Origin.FOLDER and not os.path.isdir(image.source):  # noqa: PTH112
            named = hub_address.read(image.source)
            other = f", or {named.form} for the model of the hub" if named else ""
            add(f"{path}.source", f"no folder {image.source!r}: write the path of a folder of weights{other}")
        elif image.source:
            wanted[key] = Prospect(image.source, image.selection, image.files.shard_gb, token)
    told = {key: one for key, one in forecasts(wanted).items() if one}
    for key, one in told.items():
        path, image = known[key]
        for problem in one.problems:
            add(f"{path}.source", problem)
        layers = one.layers - 1  # Docker makes no chunk lists
        if image.builder == "docker" and layers >= LAYER_COUNT_LIMIT:
            add(
                f"{path}.builder",
                f"is docker, which reads about 125 layers, and the image has {layers} above its base: write direct",
            )
    return told


def sizes_gb(models: Mapping[str, ModelSettings], told: Mapping[str, Forecast]) -> dict[str, float]:
    """The images' sizes in GB: what the settings say, else what is foretold."""
    foretold = {key: one.size_bytes / GB for key, one in told.items() if not one.problems}
    return {**foretold, **{key: image.size_gb for key, _, image in _images(models) if image.size_gb is not None}}


def say(told: Mapping[str, Forecast]) -> None:
    """Say in the plan what each image will be."""
    for key, one in told.items():
        what = ", ".join(filter(None, [one.format, one.traits.architecture]))
        pulumi.log.info(
            f"models.{key}: {one.size_bytes / GB:.1f} GB in {one.layers} layers, the largest "
            f"{max(one.layer_sizes, default=0) / GB:.1f} GB" + (f" ({what})" if what else "")
        )
        for note in one.notes:
            pulumi.log.info(f"models.{key}.source: {note}")
