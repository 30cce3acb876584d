"""On which days a recurrence rule (RFC 5545) falls, of the parts that a maintenance window may have. Pure.

Of one's own since every day of a bounded time is looked at: a rule that never comes true would keep a library's
generator busy until the year 9999, and a plan with it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

_FREQUENCIES = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_TOO_OFTEN = ("HOURLY", "MINUTELY", "SECONDLY")
"""GKE's API, `RecurringTimeWindow.recurrence`: not supported."""
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_PARTS = ("FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYMONTH", "BYSETPOS", "WKST")


class RecurrenceError(ValueError):
    """A text is no rule of these parts; the message says what is wrong and what to write."""


@dataclass(frozen=True)
class Recurrence:
    """A recurrence rule: how often, and which days of each day, week, month or year.

    `by_day` has pairs of an ordinal (0: each) and a weekday (0: Monday).
    """

    frequency: str
    interval: int = 1
    by_day: tuple[tuple[int, int], ...] = ()
    by_month_day: tuple[int, ...] = ()
    by_month: tuple[int, ...] = ()
    positions: tuple[int, ...] = ()
    week_start: int = 0

    @classmethod
    def parse(cls, text: str) -> "Recurrence":
        """Read a rule.

        Raises:
            RecurrenceError: it is none, or has parts that a maintenance window cannot have.
        """
        parts = _parts(text)
        frequency = parts["FREQ"]
        if frequency in _TOO_OFTEN:
            raise RecurrenceError(f"has FREQ={frequency}, which GKE does not take: write DAILY, WEEKLY or MONTHLY")
        if frequency not in _FREQUENCIES:
            raise RecurrenceError(f"has FREQ={frequency}: write DAILY, WEEKLY or MONTHLY")
        week_start = parts.get("WKST", "MO")
        if week_start not in _DAYS:
            raise RecurrenceError(f"has WKST={week_start}: write one of {', '.join(_DAYS)}")
        by_day = tuple(map(_weekday, parts["BYDAY"].split(","))) if "BYDAY" in parts else ()
        if frequency in {"DAILY", "WEEKLY"} and any(ordinal for ordinal, _ in by_day):
            raise RecurrenceError(
                f"has BYDAY={parts['BYDAY']} with FREQ={frequency}: numbers of days need FREQ=MONTHLY"
            )
        if frequency == "WEEKLY" and "BYMONTHDAY" in parts:
            raise RecurrenceError("has BYMONTHDAY with FREQ=WEEKLY: write FREQ=MONTHLY")
        return cls(
            frequency,
            next(iter(_numbers(parts, "INTERVAL", 1, 1_000)), 1),
            by_day,
            _numbers(parts, "BYMONTHDAY", -31, 31),
            _numbers(parts, "BYMONTH", 1, 12),
            _numbers(parts, "BYSETPOS", -366, 366),
            _DAYS.index(week_start),
        )

    def days(self, start: date, end: date) -> Iterator[date]:
        """The days from `start` (the first, which says what the rule leaves open) to before `end`, in order."""
        first = self._begin(start)
        every = (first + timedelta(days=number) for number in range((end - first).days))
        for number, period in groupby(every, key=lambda day: self._number(day, first)):
            if number % self.interval == 0:
                whole = list(period)
                fitting = [day for day in whole if self._fits(day, whole, start)]
                yield from (day for day in self._chosen(fitting) if day >= start)

    def _begin(self, start: date) -> date:
        """The first day of the period that `start` is in."""
        if self.frequency == "WEEKLY":
            return start - timedelta(days=(start.weekday() - self.week_start) % 7)
        if self.frequency == "MONTHLY":
            return start.replace(day=1)
        return start.replace(month=1, day=1) if self.frequency == "YEARLY" else start

    def _number(self, day: date, first: date) -> int:
        """How many periods after the first one."""
        if self.frequency == "YEARLY":
            return day.year - first.year
        if self.frequency == "MONTHLY":
            return (day.year - first.year) * 12 + day.month - first.month
        return (day - first).days // (7 if self.frequency == "WEEKLY" else 1)

    def _fits(self, day: date, period: list[date], start: date) -> bool:
        if self.by_month and day.month not in self.by_month:
            return False
        if self.by_month_day:
            length = ((day.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)).day
            if day.day not in self.by_month_day and day.day - length - 1 not in self.by_month_day:
                return False
        if self.by_day:
            return any(day.weekday() == weekday and _is_nth(day, period, nth) for nth, weekday in self.by_day)
        if self.by_month_day or self.frequency == "DAILY":
            return True
        if self.frequency == "WEEKLY":
            return day.weekday() == start.weekday()
        return day.day == start.day and (self.frequency == "MONTHLY" or bool(self.by_month) or day.month == start.month)

    def _chosen(self, days: list[date]) -> list[date]:
        if not self.positions:
            return days
        wanted = {position - 1 if position > 0 else len(days) + position for position in self.positions}
        return [day for number, day in enumerate(days) if number in wanted]


def _is_nth(day: date, period: list[date], nth: int) -> bool:
    if nth == 0:
        return True
    same = [other for other in period if other.weekday() == day.weekday()]
    return day == same[nth - 1 if nth > 0 else nth] if abs(nth) <= len(same) else False


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = part.partition("=")
        if not (equals and value):
            raise RecurrenceError(
                f"has {part!r}: write parts as NAME=VALUE with ';' between them, FREQ=WEEKLY;BYDAY=SA,SU"
            )
        if name in {"COUNT", "UNTIL"}:
            raise RecurrenceError(f"has {name}, after which there would be no maintenance at all: remove it")
        if name in {"BYHOUR", "BYMINUTE", "BYSECOND"}:
            raise RecurrenceError(f"has {name}: the hour is that of startTime; remove it")
        if name not in _PARTS:
            raise RecurrenceError(f"has {name}: write {', '.join(_PARTS[1:])} behind FREQ, or remove it")
        if name in parts:
            raise RecurrenceError(f"has {name} twice: write it once")
        parts[name] = value
    if "FREQ" not in parts:
        raise RecurrenceError("has no FREQ: write for example FREQ=WEEKLY;BYDAY=SA,SU")
    return parts


def _numbers(parts: Mapping[str, str], name: str, low: int, high: int) -> tuple[int, ...]:
    if name not in parts:
        return ()
    texts = parts[name].split(",")
    numbers = [int(text) if re.fullmatch(r"[+-]?[0-9]{1,4}", text) else 0 for text in texts]
    if not all(low <= number <= high and number for number in numbers):
        raise RecurrenceError(f"has {name}={parts[name]}: write whole numbers from {low} to {high}, not 0")
    return tuple(numbers)


def _weekday(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([+-]?[1-9][0-9]?)?(MO|TU|WE|TH|FR|SA|SU)", text)
    if not found:
        raise RecurrenceError(f"has {text!r} in BYDAY: write days as {', '.join(_DAYS)}, with FREQ=MONTHLY as 1SA")
    return int(found[1] or 0), _DAYS.index(found[2])
