"""The table of causes: one row a cause, in order of likelihood, by whose words they are read."""

from watch.table import admission, engine, places, pulls

ROWS = (*admission.ROWS, *pulls.ROWS, *engine.ROWS, *places.ROWS)
