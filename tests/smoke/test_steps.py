"""Which steps run, in which order, and what is refused before anything is asked."""

import pytest

from smoke.steps import ON_DEMAND, STEPS, Options, after_interrupt, problems
from tests.smoke import stacks


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (Options(), ("preflight", "deployed", "validate", "egress", "allowed")),
        (Options(on_demand=("coldstart", "scratch", "drift")), STEPS),
        (Options(only=("validate", "preflight")), ("preflight", "validate")),
        (Options(action="coldstart"), ("coldstart",)),
        (Options(action="pause"), ()),
    ],
)
def test_steps_run_in_the_runbooks_order_and_costly_ones_only_on_demand(
    options: Options, steps: tuple[str, ...]
) -> None:
    assert options.steps == steps


def test_all_that_is_wrong_is_said_at_once() -> None:
    options = Options(on_demand=ON_DEMAND, timeout=0, address="example.com", scratch_image="busybox:latest")

    said = problems(options)

    assert [problem.split()[0] for problem in said] == ["--timeout", "--scratch-image:", "--address"]


def test_what_is_right_has_no_problems() -> None:
    assert problems(Options(only=("scratch",), scratch_image=stacks.IMAGE, address="[::1]:80")) == []


def test_an_interrupted_pause_names_the_command_that_takes_it_back() -> None:
    assert "`oms resume`" in after_interrupt("pause")
