"""Trying again: what may pass, how long to wait for it, and when to give up."""

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime

import tenacity

from modelimage.errors import CancelledError, ImageError

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
"""HTTP statuses that may pass, of a registry as of the hub; from 520 on they are Cloudflare's of the host behind it."""


class TransientError(ImageError):
    """Something failed in a manner that may pass; `retry_after` is what the other side asks for, in seconds.

    `brief` marks what passes within seconds or not at all, as a name server's "try again".
    """

    def __init__(self, message: str, *, retry_after: float | None = None, brief: bool = False) -> None:
        super().__init__(message)
        self.retry_after, self.brief = retry_after, brief


class StalledError(TransientError):
    """An answer has begun, or a request was sent, and nothing gets on: a minute each time."""


class GaveUpError(ImageError):
    """Something kept failing until patience ran out."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long to try again: waits grow from `first_seconds` up to `longest_seconds`, with jitter.

    A Retry-After is obeyed instead where the other side gives one, up to `retry_after_limit_seconds`. The defaults
    bridge about a minute: a registry that restarts. What is brief is given `brief_seconds` in all and
    `brief_attempts` at most. A connection that moves no byte for `silence_seconds` has failed, and `stalled_attempts`
    such failures are enough.
    """

    attempts: int = 8
    first_seconds: float = 0.5
    longest_seconds: float = 30.0
    retry_after_limit_seconds: float = 300.0
    brief_attempts: int = 3
    brief_seconds: float = 5.0
    silence_seconds: float = 60.0
    stalled_attempts: int = 3

    def wait_seconds(self, attempt: int, error: BaseException | None) -> float:
        """How long to wait after the `attempt`-th failure."""
        if isinstance(error, TransientError) and error.retry_after is not None:
            return min(error.retry_after, self.retry_after_limit_seconds)
        grown = min(self.first_seconds * 2.0 ** (attempt - 1), self.longest_seconds)
        return grown * random.uniform(0.75, 1.25)  # noqa: S311 - spreads clients, guards nothing

    def gives_up(self, attempt: int, elapsed_seconds: float, error: BaseException | None) -> bool:
        """Tell whether the `attempt`-th failure is the last, `elapsed_seconds` after the first attempt began."""
        if isinstance(error, TransientError) and error.brief:
            return attempt >= min(self.brief_attempts, self.attempts) or elapsed_seconds >= self.brief_seconds
        if isinstance(error, StalledError):
            return attempt >= min(self.stalled_attempts, self.attempts)
        return attempt >= self.attempts


@dataclass(frozen=True)
class Patience:
    """A run's retry policy with its stop signal, its way to tell of each retry, and what to do when it gave up."""

    policy: RetryPolicy = field(default_factory=RetryPolicy)
    stop: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[str], None] = lambda _: None
    remedy: str = "; run the same command again to go on: what has arrived is not sent again"

    def at_most(self, attempts: int) -> "Patience":
        """The same with no more than `attempts` attempts."""
        return replace(self, policy=replace(self.policy, attempts=min(attempts, self.policy.attempts)))

    def retrying(self) -> tenacity.Retrying:
        """The loop that repeats what it encloses while that raises TransientError.

        Raises:
            GaveUpError: from the loop, after the last attempt.
            CancelledError: from the loop, when the run was stopped meanwhile.
        """

        def before_sleep(state: tenacity.RetryCallState) -> None:
            self.tell(f"{_error(state)}: trying again ({state.attempt_number + 1} of {self.policy.attempts})")

        def give_up(state: tenacity.RetryCallState) -> None:
            error = _error(state)
            if self.stop.is_set():
                raise CancelledError("stopped") from error
            raise GaveUpError(f"{error}: gave up after {state.attempt_number} attempts{self.remedy}") from error

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=lambda state: (
                self.stop.is_set()
                or self.policy.gives_up(state.attempt_number, state.seconds_since_start or 0.0, _error(state))
            ),
            wait=lambda state: self.policy.wait_seconds(state.attempt_number, _error(state)),
            sleep=tenacity.sleep_using_event(self.stop),
            before_sleep=before_sleep,
            retry_error_callback=give_up,
        )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that an answer's Retry-After asks for, which is a number or a date; None where there is none."""
    value = headers.get("retry-after", "")
    with suppress(ValueError):
        seconds = float(value)
        return None if math.isnan(seconds) else max(seconds, 0.0)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
