from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pytest
from pydantic import BaseModel

from tests.fields import With, leaves, unreached


class Inner(BaseModel):
    used: bool = False
    forgotten: int = 1


@dataclass(frozen=True)
class Args:
    inner: Inner = field(default_factory=Inner)
    names: Mapping[str, str] = field(default_factory=lambda: {"a": "x"})
    alone: bool = False


class Thing(pulumi.ComponentResource):
    def __init__(self, args: Args) -> None:
        super().__init__("test:index:Thing", "thing", None, None)
        shown = f"{args.inner.used} {args.names['a']} {args.inner.used and args.alone}"
        pulumi.CustomResource("test:index:Part", "part", {"shown": shown}, pulumi.ResourceOptions(parent=self))


def test_leaves_are_found_in_dataclasses_models_and_mappings() -> None:
    assert [".".join(path) for path in leaves(Args())] == ["inner.used", "inner.forgotten", "names.a", "alone"]


def test_a_field_without_effect_is_told() -> None:
    values = {"names.a": "y", "alone": With(value=True, others={"inner.used": True})}

    assert unreached(Thing, Args(), values, exempt={}) == ["inner.forgotten"]


def test_a_field_that_needs_another_is_without_effect_alone() -> None:
    assert unreached(Thing, Args(), {"names.a": "y"}, exempt={"inner.forgotten": "the point"}) == ["alone"]


def test_a_field_without_another_value_is_asked_for() -> None:
    with pytest.raises(KeyError, match=r"names\.a"):
        unreached(Thing, Args(), {}, exempt={})


def test_values_for_fields_that_are_not_there_are_refused() -> None:
    with pytest.raises(KeyError, match="gone"):
        unreached(Thing, Args(), {"names.a": "y", "gone": 1}, exempt={})
