"""A row of the table of causes: what is seen, and what to write or to run against it.

A remedy may hold `{name}`: a named group of the pattern, or a fact of `watch.facts`.
"""

import re
from dataclasses import dataclass
from functools import cached_property

from watch.complaints import Complaint, Topic
from watch.containers import Whose


@dataclass(frozen=True)
class Row:
    """A cause.

    Attributes:
        code: its stable name, for scripts.
        pattern: a regular expression that is searched in a complaint's text, which may have hundreds of lines; `.` ends
            with its line.
        remedy: what to do: keys of the settings and commands, with the value where it is known.
        source: the public report, document or source file that the words are from.
        topic: of the complaints that are asked.
        whose: whose image or container they are about.
        lasting: whether no repetition changes it: neither another pull nor a restart, so that a wait for it is over.
        hides: codes of causes that only follow from this one, where they are about the same image.
        beside: codes of causes of which one must be found as well: what is said proves nothing by itself.
        passes: whether it ends by itself, given time, so that no wait is ended for it.
        last: whether it is told only where no other cause is: it says little, as an exit code does.
    """

    code: str
    pattern: str
    remedy: str
    source: str
    topic: Topic = Topic.ANY
    whose: Whose = Whose.ANY
    lasting: bool = False
    hides: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    passes: bool = False
    last: bool = False

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def match(self, complaint: Complaint) -> re.Match[str] | None:
        """Where a complaint says that this is the cause; None where it does not."""
        if not (self.topic & complaint.topic and self.whose & complaint.whose):
            return None
        return self._expression.search(complaint.telling)
