"""The life of whole stacks at Google, by its real provider: prod beside dev, and stacks with every setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine import stacks
from tests.engine.ground import Stack
from tests.google import every, real
from tests.google.endpoints import Loopback

pytestmark = [*real.REAL, pytest.mark.xdist_group("google-stacks")]

KEPT_ON = {"serviceusage"}
"""APIs stay enabled on purpose."""


def unchanged(stack: Stack) -> None:
    """A further `up` and a refresh find nothing to do."""
    assert stack.up().well().changes == []
    assert stack.refresh().well().drift == {}


def left(google: Loopback, *projects: str) -> set[str]:
    """The services that hold something in these projects."""
    return {
        service
        for service, name in google.state.resources
        if any(name.startswith(f"projects/{project}/") for project in projects)
    } - KEPT_ON


def test_prod_takes_devs_image_and_keeps_its_registry_when_it_goes(tmp_path: Path, google: Loopback) -> None:
    with real.ground(tmp_path / "ground", google) as ground:
        stacks.deployed(ground, "dev")
        prod = ground.stack("prod")
        prod.set("cluster", "create", "deletionProtection", value=False)
        prod.up().well()
        unchanged(prod)
        prod.destroy("--exclude-protected").well()

    assert left(google, "demo-prod") == {"artifactregistry"}
    assert left(google, "demo") >= {"artifactregistry", "container", "compute", "iam"}
    assert google.violations == []


@pytest.mark.parametrize("network", every.CLUSTERS)
def test_a_stack_with_every_setting_is_unchanged_until_it_goes_without_a_trace(
    network: str, tmp_path: Path, google: Loopback
) -> None:
    file = tmp_path / "every.yaml"
    file.write_text(yaml.safe_dump(every.settings(every.CLUSTERS[network]), sort_keys=False), encoding="utf-8")
    before = _policies(google)
    with real.ground(tmp_path / "ground", google) as ground:
        stack = ground.stack("every", file)
        stack.up().well()
        unchanged(stack)
        stack.destroy().well()

    assert left(google, "demo", "demo-images") == set()
    assert _policies(google) == before
    assert google.violations == []


def _policies(google: Loopback) -> dict[Any, Any]:
    """Who has which role, where anybody has one."""
    found = {key: policy.get("bindings") for key, policy in google.state.policies.items()}
    return {key: bindings for key, bindings in found.items() if bindings}
