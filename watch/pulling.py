"""How far a slow pull has come: by what a node's disk has taken since, as its kubelet tells it.

The kubelet tells of a pull's begin and end only: nothing that an API server passes on has bytes or layers of one that
is under way. Its summary of the node's disks (`stats/summary`, the file system of the images) shows them grow: blobs as
they come, and what is unpacked of them.
"""

import time

from components.google import disk
from watch.kube import ApiError, KubeApi

_GB = 1e9
_ASK_SECONDS = 30.0
"""A figure that changes with each look would be a line of progress with each."""


class PullProgress:
    """Remembers how much room a node's disk had when a pull was first looked at."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._room: dict[str, int] = {}
        self._said: dict[str, tuple[float, str]] = {}

    def told(self, node: str, image_bytes: int) -> str:
        """What a node's disk has taken since the first look, of what the image takes; "" where nobody tells.

        Args:
            node: its name.
            image_bytes: what is pulled, as stored in the registry.
        """
        asked, text = self._said.get(node, (-_ASK_SECONDS, ""))
        now = time.monotonic()
        if now - asked >= _ASK_SECONDS:
            text = self._ask(node, image_bytes)
            self._said[node] = (now, text)
        return text

    def _ask(self, node: str, image_bytes: int) -> str:
        free = self._free(node)
        if free is None:
            return ""
        written = max(0, self._room.setdefault(node, free) - free)
        total = disk.COPIES * image_bytes
        return f"{written / _GB:.1f} of about {total / _GB:.1f} GB written to the node's disk, blobs and unpacked files"

    def _free(self, node: str) -> int | None:
        try:
            found = self._api.find(f"/api/v1/nodes/{node}/proxy/stats/summary") or {}
        except ApiError:
            return None  # no right to ask nodes, or the kubelet does not answer now
        images = ((found.get("node") or {}).get("runtime") or {}).get("imageFs") or {}
        free = images.get("availableBytes")
        return free if isinstance(free, int) else None
