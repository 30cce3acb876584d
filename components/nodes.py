"""How nodes are named in texts: by labels, and by the taints that pods tolerate. Pure."""

import re
from typing import Any

from oci_model_serving.errors import InputError

_KEY = r"(?P<key>[A-Za-z0-9]([-A-Za-z0-9_./]{0,251}[A-Za-z0-9])?)"
_VALUE = r"(?P<value>([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?)"
_TOLERATION = re.compile(rf"{_KEY}(={_VALUE})?(:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute))?")
_LABEL = re.compile(f"{_KEY}={_VALUE}")


def toleration(text: str) -> dict[str, Any]:
    """Read `KEY[=VALUE][:EFFECT]`, the way that kubectl writes a taint, as a pod has it.

    Raises:
        InputError: it is none.
    """
    found = _TOLERATION.fullmatch(text)
    if not found:
        raise InputError(f"{text!r} is no toleration: write KEY, KEY=VALUE or KEY=VALUE:NoSchedule")
    how = {"operator": "Exists"} if found["value"] is None else {"operator": "Equal", "value": found["value"]}
    return {"key": found["key"], **how, **({"effect": found["effect"]} if found["effect"] else {})}


def node_label(text: str) -> tuple[str, str]:
    """Read a label of nodes, `KEY=VALUE`.

    Raises:
        InputError: it is none.
    """
    found = _LABEL.fullmatch(text)
    if not found:
        raise InputError(f"{text!r} is no label: write KEY=VALUE, for example cloud.google.com/gke-spot=true")
    return found["key"], found["value"]
