"""Where registries send to for their blobs: signed addresses, which hold for a while and for any range of the blob.

How long one holds, it says itself: Google Cloud Storage and S3 (V4: `X-Goog-Expires`, `X-Amz-Expires`, in seconds),
their older form and CloudFront (`Expires`, a time), Azure (`se`, a time).
"""

import time
from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlsplit

_UNSAID_SECONDS = 60.0
_LONGEST_SECONDS = 3600.0
_KEPT_SHARE = 0.8
"""Of the time that an address holds, while it is used: clocks differ, and a request takes its time to arrive."""
_EARLY_REFUSALS = 3
"""So many addresses that were refused before their time show that they are for one request each."""


class Redirects:
    """The addresses of blobs, by their digests, while they hold."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, float]] = {}
        self._refused = 0

    def find(self, digest: str) -> str | None:
        """The address that holds now; None for none."""
        address, end = self._known.get(digest, ("", 0.0))
        return address if time.monotonic() < end else None

    def keep(self, digest: str, address: str) -> None:
        """Remember where a blob is."""
        if self._refused < _EARLY_REFUSALS:
            self._known[digest] = (address, time.monotonic() + lifetime(address) * _KEPT_SHARE)

    def forget(self, digest: str) -> None:
        """An address was refused before its time."""
        self._refused += self._known.pop(digest, None) is not None


def lifetime(address: str) -> float:
    """How long a signed address holds from now on, in seconds; a minute where it does not say."""
    said = {name.lower(): value for name, value in parse_qsl(urlsplit(address).query)}
    try:
        for name in ("x-goog-expires", "x-amz-expires"):
            if name in said:
                return _bounded(float(said[name]))
        if "expires" in said:
            return _bounded(float(said["expires"]) - time.time())
        if "sig" in said and "se" in said:
            end = datetime.fromisoformat(said["se"].replace("Z", "+00:00"))
            end = end if end.tzinfo else end.replace(tzinfo=timezone.utc)
            return _bounded(end.timestamp() - time.time())
    except (ValueError, OverflowError):
        pass
    return _UNSAID_SECONDS


def _bounded(seconds: float) -> float:
    # What is no number compares as false, and holds for no time.
    return min(seconds, _LONGEST_SECONDS) if seconds > 0 else 0.0
