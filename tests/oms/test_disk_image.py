"""The disk image of a node-warm cache: what Google's builder is told, with git, Go and the registry played."""

import json
import os
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from oci_model_serving.reference import ImageReference
from oms import disk_image
from oms.main import main

HEX = "0123456789abcdef" * 4
IMAGE = f"us-central1-docker.pkg.dev/demo/models/qwen2-5@sha256:{HEX}"
PUBLIC = f"docker.io/vllm/vllm-openai@sha256:{HEX}"
WHERE = ["--project", "demo", "--zone", "us-central1-a", "--logs", "gs://logs/disks"]


def references(*texts: str) -> list[ImageReference]:
    return [ImageReference.parse(text) for text in texts]


def disk(arguments: list[str]) -> int:
    return main(["image", "disk", *arguments])


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `git` that makes the builder's folder, and a `go` that notes how and where it is called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "git": f'#!/bin/sh\necho "$@" >> {tmp_path}/git\nmkdir -p "$2/gke-disk-image-builder"\n',
        "go": f'#!/bin/sh\necho "talk on stdout"\nfor one in "$@"; do echo "$one" >> {tmp_path}/go; done\n'
        f'[ "$(basename "$PWD")" = gke-disk-image-builder ] && exit "$(cat {tmp_path}/code)"\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_image, "_size_bytes", lambda image: 70_000_000_000)


def test_the_builder_is_fetched_at_its_commit_and_told_image_place_and_size(
    tools: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = disk([IMAGE, *WHERE, "--", "--network=serving", "--subnet=nodes"])

    assert code == 0
    assert capfd.readouterr().out == f"projects/demo/global/images/qwen2-5-{HEX[:12]}\n"
    assert (tools / "go").read_text().splitlines() == [
        "run",
        "./cli",
        "--project-name=demo",
        f"--image-name=qwen2-5-{HEX[:12]}",
        "--zone=us-central1-a",
        "--gcs-path=gs://logs/disks",
        "--disk-size-gb=150",
        "--image-pull-auth=ServiceAccountToken",
        "--timeout=60m",
        f"--container-image={IMAGE}",
        "--network=serving",
        "--subnet=nodes",
    ]
    assert disk_image.COMMIT in (tools / "git").read_text()
    folder = shlex.split((tools / "git").read_text())[1]
    assert not Path(folder).exists()  # nothing is left behind


def test_a_dry_run_shows_the_command_and_does_nothing(tools: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert disk([PUBLIC, *WHERE, "--dry-run", "--disk-size-gb", "40"]) == 0

    words = shlex.split(capsys.readouterr().out)
    assert words[:3] == ["go", "run", "./cli"]
    assert {"--disk-size-gb=40", "--image-pull-auth=None"} <= set(words)
    assert not (tools / "go").exists()


def test_a_tag_is_refused_since_a_disk_holds_one_content(capsys: pytest.CaptureFixture[str]) -> None:
    assert disk(["docker.io/vllm/vllm-openai:v0.23.0", *WHERE]) == 2
    assert "a tag can move" in capsys.readouterr().err


def test_images_of_different_credentials_are_refused_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert disk([IMAGE, PUBLIC, *WHERE]) == 2
    assert "`oms image copy IMAGE HOST/PATH`" in capsys.readouterr().err


def test_logs_that_are_no_bucket_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert disk([IMAGE, *WHERE[:-1], "/tmp/logs"]) == 2  # noqa: S108 - refused
    assert "write gs://bucket/prefix" in capsys.readouterr().err


def test_a_builder_that_fails_is_told_and_names_no_image(tools: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tools / "code").write_text("3")

    assert disk([IMAGE, *WHERE]) == 1

    shown = capfd.readouterr()
    assert shown.out == ""
    assert "the builder failed" in shown.err
    assert "Traceback" not in shown.err


def test_tools_that_are_missing_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert disk([IMAGE, *WHERE]) == 1
    assert "git and go not on PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("texts", "stem"),
    [
        ([IMAGE], "qwen2-5-"),
        ([f"a.pkg.dev/p/r/2b@sha256:{HEX}"], "image-2b-"),
        ([f"a.pkg.dev/p/r/{'q' * 80}@sha256:{HEX}"], "q" * 50 + "-"),
        ([IMAGE, IMAGE.replace("qwen2-5", "vllm")], "qwen2-5-"),
    ],
)
def test_a_disk_images_name_names_its_content_as_compute_engine_takes_it(texts: list[str], stem: str) -> None:
    name = disk_image.image_name(references(*texts))

    assert name.startswith(stem)
    assert len(name) <= 63
    other = references(*[text.replace(HEX, "f" * 64) for text in texts])
    assert disk_image.image_name(other) != name


def test_an_image_that_does_not_exist_is_told_before_a_vm_is_started(tmp_path: Path) -> None:
    missing = f"127.0.0.1:9/models/qwen@sha256:{HEX}"

    done = subprocess.run(
        [sys.executable, "-m", "oms", "image", "disk", missing, *WHERE],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert f"{missing} cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_size_is_the_images_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    inspected = SimpleNamespace(size_bytes=42)
    monkeypatch.setattr("modelimage.transfer.inspect", lambda reference: inspected if reference == IMAGE else None)

    assert disk_image._size_bytes(references(IMAGE)[0]) == 42


@pytest.mark.parametrize("host", ["evilpkg.dev", "us-central1-docker-pkg.dev", "docker.pkg.dev.example.com"])
def test_no_google_token_is_offered_to_another_registry(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert disk([f"{host}/p/r/m@sha256:{HEX}", *WHERE, "--dry-run"]) == 0
    assert "--image-pull-auth=None" in capsys.readouterr().out


def test_json_is_one_object_with_the_images_name(tools: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert disk([IMAGE, *WHERE, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"image": f"projects/demo/global/images/qwen2-5-{HEX[:12]}"}
