"""`oms image prune`: who is asked what is used, and that nothing goes where one cannot say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from oci_model_serving.reference import digest_tag
from oms.main import main
from tests.modelimage.oci_registry import MemoryRegistry
from tests.modelimage.test_pruning import image
from tests.smoke import stacks


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryRegistry]:
    (tmp_path / "Pulumi.yaml").write_text("name: oci-model-serving\n")
    monkeypatch.chdir(tmp_path)
    with MemoryRegistry().running() as registry:
        yield registry


def outputs(name: str = "outputs.json", digest: str = stacks.DIGEST) -> str:
    Path(name).write_text(json.dumps(stacks.raw_outputs()).replace(stacks.DIGEST, digest))
    return name


def test_unused_images_are_listed_and_with_yes_removed(
    server: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new, named = (image(server, name) for name in ("old", "new", "named"))
    Path("Pulumi.prod.yaml").write_text(f"config:\n  oci-model-serving:models: {{m: {{digest: r.io/m@{named}}}}}\n")
    asked = ["image", "prune", f"{server.host}/m", "--outputs", outputs(digest=new), "--keep-days", "0"]

    assert main(asked) == 0
    assert old in server.manifests
    assert main([*asked, "--yes", "--json"]) == 0

    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {one["digest"]: one["removed"] for one in said["images"]} == {old: True, new: False, named: False}
    assert set(server.manifests) == {new, named}


def test_images_of_unknown_age_are_listed_and_not_removed_without_a_word(
    server: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    old = image(server, "old")

    assert main(["image", "prune", f"{server.host}/m", "--outputs", outputs(), "--yes"]) == 1

    said = capsys.readouterr()
    assert f"age unknown  {server.host}/m@{old}" in said.out
    assert "--keep-days 0" in said.err
    assert digest_tag(old) in server.tags


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "--stack NAME or --outputs FILE"),
        (["--outputs", "plan.json"], "is a plan"),
        (["--outputs", "outputs.json", "--outputs", "destroyed.json"], "contract_version"),
        (["--outputs", "outputs.json", "--stack", "gone"], "gone"),
    ],
)
def test_nothing_is_removed_where_a_stack_cannot_say_what_it_uses(
    server: MemoryRegistry, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    image(server, "old")
    outputs()
    Path("destroyed.json").write_text("{}")
    Path("plan.json").write_text(json.dumps({"resources": [], "outputs": stacks.raw_outputs()}))

    assert main(["image", "prune", f"{server.host}/m", "--keep-days", "0", "--yes", *given]) != 0

    assert said in capsys.readouterr().err
    assert len(server.manifests) == 1
    assert not server.asked
