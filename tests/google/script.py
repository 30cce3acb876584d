"""What a test has Cloud Build do."""

from dataclasses import dataclass, field


@dataclass
class Script:
    """What the next builds do: their log grows by a part at each look, then they end."""

    log: list[bytes] = field(default_factory=list)
    output: bytes = b""
    """What the step leaves in `$BUILDER_OUTPUT/output`."""
    ends: str = "SUCCESS"
    detail: str = ""
