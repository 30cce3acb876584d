"""The models that a run is about."""

import pytest

from oci_model_serving.errors import InputError
from smoke.stack import select
from tests.smoke import stacks


def test_all_models_are_checked_unless_some_are_named() -> None:
    outputs = stacks.outputs()

    assert [model.key for model in select(outputs, [])] == [stacks.KEY]
    assert [model.key for model in select(outputs, [stacks.KEY, stacks.KEY])] == [stacks.KEY]


def test_all_unknown_models_are_named_at_once_with_the_close_one() -> None:
    with pytest.raises(InputError) as refused:
        select(stacks.outputs(), ["qwen2.5-0.5b", "other"])

    assert "qwen2.5-0.5b'" in str(refused.value)
    assert f"did you mean '{stacks.KEY}'" in str(refused.value)
    assert "'other'" in str(refused.value)


def test_a_stack_without_models_is_refused() -> None:
    with pytest.raises(InputError, match="serves no model"):
        select(stacks.outputs().model_copy(update={"models": {}}), [])
