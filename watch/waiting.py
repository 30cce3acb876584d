"""How the cluster is waited for."""

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

from watch.causes import NotHeldError, said, unlike
from watch.kube import ApiError, is_transient

POLL_SECONDS = 1.0
Tell = Callable[[str], None]
Found = TypeVar("Found")


TELL_SECONDS = 30.0


class Progress:
    """Lets a line through when what it says has changed, and every 30 s; the seconds in it are no change.

    Args:
        write: takes a line.
    """

    def __init__(self, write: Tell) -> None:
        self._write = write
        self._subject = ""
        self._told = 0.0

    def tell(self, line: str) -> None:
        """Take a line of progress: `SUBJECT (SECONDS s)`."""
        subject, now = line.rpartition(" (")[0] or line, time.monotonic()
        if subject != self._subject or now - self._told >= TELL_SECONDS:
            self._write(line)
            self._subject, self._told = subject, now


class LateError(NotHeldError):
    """What was waited for did not come in time."""


def wait_for(
    look: Callable[[], Found | None], *, timeout: float, what: str, remedy: str, tell: Tell = lambda _: None
) -> Found:
    """Look until something is found, telling how long it has been, and return it.

    An API server that does not answer for a while (it restarts, it is being upgraded) says nothing about what is
    looked for: it is asked again.

    Raises:
        LateError: nothing is found after `timeout` seconds.
        ApiError: the API server refuses to tell.
    """
    start = time.monotonic()
    while True:
        unanswered = ""
        try:
            with unlike("the API server"):
                found = look()
            if found:
                return found
        except (ApiError, httpx.TransportError) as error:
            if not is_transient(error):
                raise
            unanswered = f", {said(error)}"
        waited = time.monotonic() - start
        if waited >= timeout:
            raise LateError(f"{what}: not within {timeout:.0f} s{unanswered}", remedy)
        tell(f"{what} ({waited:.0f} s{unanswered})")
        time.sleep(POLL_SECONDS)
