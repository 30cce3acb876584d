"""Whether GKE takes a maintenance window: long enough, often enough, and in a form that it knows."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from components.settings.checks.recurrence import Recurrence, RecurrenceError
from components.settings.checks.unread import Problem
from components.settings.maintenance import MaintenanceWindow

_SHORTEST = timedelta(hours=4)
_WANTED = timedelta(hours=48)
_SPAN = timedelta(days=32)
"""GKE, "Maintenance windows and exclusions": 48 hours in any 32 days; only windows of 4 hours or more count."""
_LOOKED_AT = timedelta(days=2 * 366)
"""Two years have every month, once at least as a common year's."""
_ENOUGH = "at least 4 hours each, and at least 48 hours in any 32 days, as 8 hours with FREQ=WEEKLY;BYDAY=SA,SU"

_Window = tuple[datetime, datetime]


def problems(window: MaintenanceWindow) -> Iterator[Problem]:
    """What is wrong with a window, by paths relative to it."""
    start, end, rule = _time(window.start_time), _time(window.end_time), None
    for key, time, text in ((".startTime", start, window.start_time), (".endTime", end, window.end_time)):
        if time is None:
            yield key, f"is {text}, a time that there is not: write for example 2026-01-03T02:00:00Z"
    if start and end and end <= start:
        yield ".endTime", f"is {window.end_time}, not after startTime ({window.start_time}): write a later one"
    try:
        rule = Recurrence.parse(window.recurrence)
    except RecurrenceError as error:
        yield ".recurrence", str(error)
    if start and end and rule and end > start:
        yield from _length(rule, start, end)


def _length(rule: Recurrence, start: datetime, end: datetime) -> Iterator[Problem]:
    midnight = start.replace(hour=0, minute=0, second=0)
    days = rule.days(start.date(), (start + _LOOKED_AT).date())
    opened = [midnight.combine(day, start.time()) for day in days]
    windows = _joined((opens, opens + (end - start)) for opens in opened)
    long = [one for one in windows if one[1] - one[0] >= _SHORTEST]
    if not windows:
        yield ".recurrence", f"never comes: write {_ENOUGH}"
    elif not long:
        yield "", f"is open for {_hours(end - start)} hours at a time, and GKE counts none below 4: write {_ENOUGH}"
    elif (least := _least(long)) < _WANTED:
        yield "", f"is open for no more than {_hours(least)} hours in some 32 days: write {_ENOUGH}"


def _joined(windows: Iterable[_Window]) -> list[_Window]:
    """Windows in order, those that touch as one."""
    found: list[_Window] = []
    for opens, closes in windows:
        if found and opens <= found[-1][1]:
            found[-1] = (found[-1][0], max(closes, found[-1][1]))
        else:
            found.append((opens, closes))
    return found


def _least(windows: list[_Window]) -> timedelta:
    """The shortest time that is open within 32 days: of those that begin where a window has closed."""
    last = windows[0][0] + _LOOKED_AT - _SPAN
    begins = [number for number, (_, closes) in enumerate(windows) if closes <= last]
    return min((_open(windows, number + 1, windows[number][1]) for number in begins), default=_SPAN)


def _open(windows: list[_Window], first: int, begin: datetime) -> timedelta:
    end, total = begin + _SPAN, timedelta()
    for opens, closes in windows[first:]:
        if opens >= end:
            break
        total += min(closes, end) - opens
    return total


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").replace(tzinfo=None)
    except ValueError:
        return None


def _hours(time: timedelta) -> str:
    return f"{time.total_seconds() / 3600:g}"
