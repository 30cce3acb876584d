"""The table of causes: one row a cause, in order of likelihood, by whose words they are read."""

from watch.complaints import Complaint
from watch.table import admission, engine, places, pulls

ROWS = (*admission.ROWS, *pulls.ROWS, *engine.ROWS, *places.ROWS)


def is_lasting(complaint: Complaint) -> bool:
    """Whether a complaint is one that no repetition ends."""
    seen = [row for row in ROWS if row.match(complaint)]
    hidden = {code for row in seen for code in row.hides}
    return any(row.lasting for row in seen if row.code not in hidden)
