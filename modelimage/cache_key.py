"""What a server's compile cache was made of: a key in its image's annotations. Light, for it is read in every plan."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oci_model_serving.errors import InputError
from oci_model_serving.foreign import in_line
from oci_model_serving.reference import DIGEST

ANNOTATION = "oci-model-serving.compile-cache"
"""Annotation of an image's manifest that makes it a compile cache: a `CacheKey` as JSON."""
PURPOSE = "compile-cache"
"""What `oms image inspect --for` calls it."""

_SHOWN, _TOLD = 80, 8
_Digest = Annotated[str, Field(pattern=f"^{DIGEST.pattern}$")]
_PARTS = {"model": "the model's image", "server": "the server's image", "gpu": "the GPU", "gpus": "the number of GPUs"}


class CacheKey(BaseModel):
    """What a compile cache was made of; another of any part, and it is not used.

    Attributes:
        model: digest of the model's image.
        server: digest of the server's.
        gpu: the accelerator as GKE calls it, and the share of one where pods have no whole one.
        gpus: how many a pod has.
        args: the server's arguments that what is compiled may depend on, by their names.
        env: variables, likewise.
    """

    # A part that a later version adds is not to be overlooked.
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    model: _Digest
    server: _Digest
    gpu: str
    gpus: int
    args: dict[str, str] = {}
    env: dict[str, str] = {}

    def written(self) -> str:
        """The key as an annotation: the same text for the same key."""
        return self.model_dump_json()

    def differences(self, served: "CacheKey") -> list[str]:
        """What keeps a cache of this key from being used for what is `served`, in words; none where it fits.

        Of many that differ the first are told, and how many more there are.
        """
        found = []
        for name, what in _PARTS.items():
            made, now = getattr(self, name), getattr(served, name)
            if made != now:
                found.append(f"{what} was {_short(made)} and is {_short(now)}")
        for what, made, now in (("argument", self.args, served.args), ("variable", self.env, served.env)):
            found += [
                f"the {what} {in_line(name)} was {_short(made.get(name))} and is {_short(now.get(name))}"
                for name in sorted(made.keys() | now.keys())
                if made.get(name) != now.get(name)
            ]
        more = len(found) - _TOLD
        return [*found[:_TOLD], f"{more} more"] if more > 0 else found


def _short(value: object) -> str:
    return "not given" if value is None else in_line(str(value) or "empty", _SHOWN)


def key_in(annotations: Mapping[str, str], reference: str) -> CacheKey:
    """What the image of these annotations was made for.

    Raises:
        InputError: it is no compile cache, or one of a version that this one does not know.
    """
    text = annotations.get(ANNOTATION)
    if text is None:
        raise InputError(f"{reference} is no compile cache: make one with `oms cache make`")
    try:
        return CacheKey.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = in_line(".".join(map(str, first["loc"]))) or "it"
        raise InputError(
            f"{reference}: its annotation {ANNOTATION} cannot be read ({place}: {in_line(first['msg'])}): make the "
            "cache again with this version's `oms cache make`"
        ) from None
