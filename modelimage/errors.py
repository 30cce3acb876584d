"""The errors that packing, pushing and reading images raise: each carries one message with its remedy."""

from __future__ import annotations


class ImageError(Exception):
    """Something that a person must know or do before an image can be packed, pushed or read.

    The message names what failed, what was wrong with it and what to do; it never holds a secret. ``exit_code`` is
    what ``python -m modelimage`` ends with: 1 for a failure, 2 for input that can never work.
    """

    exit_code = 1


class BadInputError(ImageError):
    """The arguments or the source cannot make an image, whatever the network does. ``problems`` lists all of them."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class NotFoundError(ImageError):
    """The image, blob or file asked for does not exist."""


class CancelledError(ImageError):
    """The run was stopped from outside (Ctrl-C, or another layer failed)."""


class DigestMismatchError(ImageError):
    """Content does not have the digest that was expected of it."""
