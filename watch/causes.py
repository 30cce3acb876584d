"""Why something does not run, as a person needs it: what was seen and what to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from oci_model_serving.errors import OmsError
from oci_model_serving.foreign import in_line


@dataclass(frozen=True)
class Cause:
    """Why a pod does not run: a stable `code` for scripts, what was seen, and what to do."""

    code: str
    evidence: str
    remedy: str


class NotHeldError(OmsError):
    """Something is not as it must be: `evidence` is what was seen, `remedy` what to do.

    Where there are causes, the first one's remedy takes the place of the one given.
    """

    def __init__(self, evidence: str, remedy: str, causes: Sequence[Cause] = ()) -> None:
        self.evidence = evidence
        self.remedy = causes[0].remedy if causes else remedy
        self.causes = tuple(causes)
        told = [line for cause in causes for line in (f"  {cause.evidence}", f"    {cause.remedy}")]
        super().__init__("\n".join([evidence, *(told or [f"  {remedy}"])]))


@contextmanager
def unlike(who: str) -> Iterator[None]:
    """Turn what an object does to its reader that has another form than Kubernetes gives it into an error of `who`.

    Raises:
        NotHeldError: so it was.
    """
    try:
        yield
    except OmsError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
        raise NotHeldError(
            f"{who} answered with an object of another form than Kubernetes' ({type(error).__name__}: {said(error)})",
            "see what answers there: a proxy may stand before the API server, or it is newer than what is known here",
        ) from error


def short(text: str, length: int = 300) -> str:
    """The text in one line, without its middle where it is long: what happened stands at the end of most messages."""
    return in_line(text, length)


def said(error: BaseException) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return short(next(iter(str(error).strip().splitlines()), "")) or type(error).__name__
