"""What a check says: held, did not hold, or was not run; and why."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import httpx

from oci_model_serving.errors import InputError, OmsError
from watch.causes import Cause, NotHeldError, said


class NotRunError(OmsError):
    """A check has nothing to look at, or may not look; the message is the reason."""


class LeftInterrupt(KeyboardInterrupt):
    """The run was interrupted, and something it had changed could not be put back; the message says what."""


class Status(str, Enum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - not a password
    FAIL = "fail"
    SKIP = "skip"


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


Evidence = Callable[[], str]
"""Runs one check: returns what was seen when it holds, raises NotHeldError or NotRunError otherwise."""


def run(step: str, name: str, evidence: Evidence, *, model: str = "") -> Check:
    """Run one check. Whatever goes wrong in it is a failure of this check, not of the whole run.

    Raises:
        InputError: the arguments or the stack keep any check from running.
    """
    check = Check(step, name, Status.PASS, "", model=model)
    try:
        return replace(check, evidence=evidence())
    except InputError:
        raise
    except NotRunError as reason:
        return replace(check, status=Status.SKIP, evidence=str(reason))
    except NotHeldError as failure:
        failed = failure
    except httpx.HTTPError as error:
        failed = NotHeldError(
            f"{type(error).__name__}: {said(error)}",
            "see that the address answers from here (VPN, authorized networks, proxy), then run again",
        )
    except Exception as error:  # noqa: BLE001 - an object of another shape than expected must not hide other checks
        failed = NotHeldError(
            f"the check itself failed: {type(error).__name__}: {said(error)}",
            "something answered in a form that this check does not know: look at it by hand, and report it",
        )
    return replace(check, status=Status.FAIL, evidence=failed.evidence, remedy=failed.remedy, causes=failed.causes)


def all_hold(checks: list[Check]) -> bool:
    """Whether at least one check ran and none of those that ran failed."""
    ran = [check for check in checks if check.status is not Status.SKIP]
    return bool(ran) and all(check.status is Status.PASS for check in ran)
