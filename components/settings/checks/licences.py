"""Whether what is served is published under a licence that the stack takes."""

from collections.abc import Collection, Iterator

from components.settings.checks.unread import Problem, touches
from components.settings.images import StackImage
from components.settings.stack import Settings
from modelimage.licences import CARD, parts

_VOUCH = "write licence: with what you have read, as licence: apache-2.0"


def problems(settings: Settings, unread: Collection[str]) -> Iterator[Problem]:
    """Images whose licence `policy.licences` does not name, or that nobody knows."""
    allowed = settings.sections.policy.licences
    if allowed is None or touches("policy", unread):
        return
    known = {one.lower() for one in allowed}
    for model in settings.models.values():
        images = {
            f"models.{model.key}": model,
            **{f"models.{model.key}.adapters.{one.label}": one for one in model.adapters},
        }
        for path, image in images.items():
            if not {f"{path}.source", f"{path}.licence"} & set(unread):
                yield from _image(settings, image, path, known)


def _image(settings: Settings, image: StackImage, path: str, allowed: set[str]) -> Iterator[Problem]:
    forecast, vouched = settings.forecasts.get(image.key), image.settings.licence
    said = forecast.licence if forecast else ""
    if said and vouched and parts(said) != parts(vouched):
        yield f"{path}.licence", f"is {vouched}, but the model's card says {said}: remove it"
    elif not (licence := said or vouched):
        yield (
            f"{path}.licence",
            f"is needed, for policy.licences is set and {_why(image, asked=bool(forecast))}: {_VOUCH}",
        )
    elif others := [one for one in parts(licence) if one not in allowed]:
        where = "source" if said else "licence"
        yield (
            f"{path}.{where}",
            f"is published under {', '.join(others)}, which policy.licences does not name: take another model, or add "
            "the licence there",
        )


def _why(image: StackImage, *, asked: bool) -> str:
    if image.settings.source is None:
        return "an image that exists is not asked for its licence"
    return f"its {CARD} names none" if asked else f"its {CARD} could not be read from here"
