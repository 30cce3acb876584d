import json

import pytest

from tests.plans import golden


@pytest.mark.parametrize("stack", golden.STACKS)
def test_the_plan_is_the_one_that_is_committed(stack: str) -> None:
    committed = json.loads(golden.path(stack).read_text(encoding="utf-8"))

    assert json.loads(golden.plan(stack)) == committed, (
        f"the plan of {stack} has changed: look at the difference; if it is what you want, `make plans` and commit it"
    )


@pytest.mark.parametrize("stack", golden.STACKS)
def test_a_committed_plan_tells_nothing_of_the_machine_and_no_secret(stack: str) -> None:
    text = golden.path(stack).read_text(encoding="utf-8")

    assert "/home/" not in text
    assert str(golden._ROOT) not in text
    assert '"kubeconfig": "[secret]"' in text
