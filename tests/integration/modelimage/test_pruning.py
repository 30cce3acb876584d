"""Unused images leave a real registry (docker-registry), with their tags and what is attached to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelimage import pack
from modelimage.pruning import find, remove
from modelimage.registry import Registry
from oci_model_serving.reference import parse_registry, referrers_tag
from tests.integration.modelimage.test_referrers import by_hand
from tests.registry import RegistryServer

pytestmark = pytest.mark.integration


def test_what_no_stack_uses_leaves_the_registry_and_the_rest_can_still_be_read(
    registry: RegistryServer, tmp_path: Path
) -> None:
    digests = []
    for name in ("old", "used"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps({"name": name}))
        digests.append(pack(str(tmp_path / name), f"{registry.host}/models").digest)
        by_hand(registry, digests[-1], tmp_path)
    old, used = digests
    assert referrers_tag(old) in registry.tags("models")
    with Registry(parse_registry(f"{registry.host}/models")) as place:
        for image in find(place, {used}, keep_days=0):
            if not image.why:
                remove(place, image)

        assert place.manifest(used).digest == used
        assert len(place.referrers(used)) == 1
    assert registry.manifest("models", old).status_code == 404
    assert referrers_tag(old) not in registry.tags("models")
    assert all(used.removeprefix("sha256:") in tag for tag in registry.tags("models"))
