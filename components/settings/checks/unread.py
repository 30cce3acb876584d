"""What a check yields, and what it may not conclude from."""

from collections.abc import Collection

Problem = tuple[str, str]
"""Key path and remedy."""


def touches(path: str, unread: Collection[str]) -> bool:
    """Whether something at or under a path was refused already."""
    return any(one == path or one.startswith(f"{path}.") for one in unread)
