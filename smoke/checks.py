"""What a check says: held, did not hold, or was not run; and why."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

import httpx


class SmokeError(Exception):
    """Something that keeps `smoke` from running at all: bad input, no outputs, no cluster. Exit code 2."""


class NotHeldError(Exception):
    """A check does not hold; `evidence` is what was seen and `remedy` what to do."""

    def __init__(self, evidence: str, remedy: str, causes: "tuple[Cause, ...]" = ()) -> None:
        self.evidence = evidence
        self.remedy = remedy
        self.causes = causes
        super().__init__(evidence)


class NotRunError(Exception):
    """A check has nothing to look at, or may not look; the message is the reason."""


class LeftInterrupt(KeyboardInterrupt):
    """The run was interrupted, and something it had changed could not be put back; the message says what."""


class Status(str, Enum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Cause:
    """Why a pod does not run: a stable `code` for scripts, what was seen, and what to do."""

    code: str
    evidence: str
    remedy: str


@dataclass(frozen=True)
class Check:
    """The outcome of one check of one step; `model` is empty for those about the whole cluster."""

    step: str
    name: str
    status: Status
    evidence: str
    remedy: str = ""
    model: str = ""
    causes: tuple[Cause, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The check as JSON-ready values."""
        return {**asdict(self), "status": self.status.value}


Evidence = Callable[[], str]
"""Runs one check: returns what was seen when it holds, raises NotHeldError or NotRunError otherwise."""


def run(step: str, name: str, evidence: Evidence, *, model: str = "") -> Check:
    """Run one check. Whatever goes wrong in it is a failure of this check, not of the whole run.

    Raises:
        SmokeError: the arguments or the stack keep any check from running.
    """
    check = Check(step, name, Status.PASS, "", model=model)
    try:
        return replace(check, evidence=evidence())
    except NotRunError as reason:
        return replace(check, status=Status.SKIP, evidence=str(reason))
    except NotHeldError as failure:
        return replace(
            check, status=Status.FAIL, evidence=failure.evidence, remedy=failure.remedy, causes=failure.causes
        )
    except httpx.HTTPError as error:
        return replace(
            check,
            status=Status.FAIL,
            evidence=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
            remedy="see that the address answers from here (VPN, authorized networks, proxy), then run again",
        )
    except SmokeError:
        raise
    except Exception as error:  # noqa: BLE001 - an object of another shape than expected must not hide other checks
        said = str(error).splitlines()
        return replace(
            check,
            status=Status.FAIL,
            evidence=f"the check itself failed: {type(error).__name__}{f': {said[0][:300]}' if said else ''}",
            remedy="something answered in a form that this check does not know: look at it by hand, and report it",
        )


def all_hold(checks: "list[Check]") -> bool:
    """Whether at least one check ran and none of those that ran failed."""
    ran = [check for check in checks if check.status is not Status.SKIP]
    return bool(ran) and all(check.status is Status.PASS for check in ran)


Step = Iterator[Check]
