"""Times and durations as Kubernetes' API and container runtimes write them."""

import re
from datetime import datetime, timezone

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_time(text: str | None) -> datetime | None:
    """Read a time of RFC 3339, finer than a microsecond or not; None of nothing.

    Raises:
        ValueError: it is no such time.
    """
    if not text:
        return None
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("it is no time of RFC 3339")
    seconds, fraction, zone = match.groups()
    micros = (fraction or "").ljust(6, "0")[:6]
    # Python 3.10 reads neither `Z` nor more than six digits.
    return datetime.fromisoformat(f"{seconds}.{micros}{'+00:00' if zone == 'Z' else zone}").astimezone(timezone.utc)


def parse_duration(text: str) -> float:
    """Read a duration as Go prints it (`1m2.5s`, `300ms`), in seconds."""
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|us|µs|ns|h|m|s)", text))


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds from start to end; not below zero, which two clocks' rounding would give."""
    return round(max(0.0, (end - start).total_seconds()), 3) if start and end else None
