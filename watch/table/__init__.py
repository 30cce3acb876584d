"""The table of causes: one row a cause, in order of likelihood, by whose words they are read."""

from watch.complaints import Complaint
from watch.table import admission, engine, places, pulls, streams

ROWS = (*admission.ROWS, *pulls.ROWS, *streams.ROWS, *engine.ROWS, *places.ROWS)


def is_lasting(complaint: Complaint) -> bool:
    """Whether a complaint is one that no repetition ends; not where it may be of a cause that passes as well."""
    seen = [row for row in ROWS if row.match(complaint)]
    hidden = {code for row in seen for code in row.hides}
    told = [row for row in seen if row.code not in hidden]
    told = [row for row in told if not row.last] or told
    return bool(told) and all(row.lasting for row in told)


def passes(complaint: Complaint) -> bool:
    """Whether a complaint is one that time ends."""
    return any(row.passes for row in ROWS if row.match(complaint))
