"""A check that goes wrong by itself is one failure, and the others still run."""

import pytest

from oci_model_serving.errors import InputError
from smoke.checks import Status, run


def test_an_unexpected_error_fails_its_own_check_and_is_named() -> None:
    def evidence() -> str:
        raise KeyError("status")

    found = run("deployed", "files", evidence, model="m")

    assert found.status is Status.FAIL
    assert "KeyError: 'status'" in found.evidence
    assert found.remedy


def test_bad_arguments_still_end_the_run() -> None:
    def evidence() -> str:
        raise InputError("--scratch-image: write it by digest")

    with pytest.raises(InputError):
        run("scratch", "pod", evidence)
