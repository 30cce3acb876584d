"""The errors of packing, pushing and reading images that a caller can tell apart."""

from collections.abc import Iterator
from contextlib import contextmanager

from oci_model_serving.errors import InputError, OmsError
from oci_model_serving.foreign import in_line


class ImageError(OmsError):
    """An image could not be packed, pushed or read."""


class NotFoundError(ImageError):
    """The image, blob or file asked for does not exist."""


class CancelledError(ImageError):
    """The run was stopped from outside (Ctrl-C, or another layer failed)."""


class DigestMismatchError(ImageError):
    """Content does not have the digest that was expected of it."""


def first_line(error: BaseException) -> str:
    """What another library's error says, without its further lines."""
    return in_line((str(error).strip().splitlines() or [type(error).__name__])[0])


@contextmanager
def collecting(problems: list[str]) -> Iterator[None]:
    """Note what is wrong with an input and go on, so that all problems are told at once."""
    try:
        yield
    except InputError as error:
        problems.extend(error.problems)
