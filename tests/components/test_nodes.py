"""How nodes are named in texts."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.nodes import node_label, toleration
from oci_model_serving.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dedicated", {"key": "dedicated", "operator": "Exists"}),
        ("dedicated:NoExecute", {"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}),
        ("a.b/c=d", {"key": "a.b/c", "operator": "Equal", "value": "d"}),
        ("a=", {"key": "a", "operator": "Equal", "value": ""}),
        ("a=b:NoSchedule", {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}),
    ],
)
def test_a_toleration_is_written_as_kubectl_writes_a_taint(text: str, expected: dict[str, str]) -> None:
    assert toleration(text) == expected


@given(st.text(max_size=20))
def test_any_text_is_a_toleration_or_is_told_how_one_is_written(text: str) -> None:
    try:
        found = toleration(text)
    except InputError as error:
        told = str(error)
    else:
        told = ""
        assert re.fullmatch(r"[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?", found["key"])
        assert found["operator"] in {"Exists", "Equal"}
    assert told == "" or "write KEY, KEY=VALUE or KEY=VALUE:NoSchedule" in told


def test_a_label_has_a_key_and_a_value() -> None:
    assert node_label("cloud.google.com/gke-spot=true") == ("cloud.google.com/gke-spot", "true")
    for wrong in ("", "a", "=b", "a=b=c", "a b=c", "a=-"):
        with pytest.raises(InputError, match="write KEY=VALUE"):
            node_label(wrong)
