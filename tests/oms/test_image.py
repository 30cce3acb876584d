from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from modelimage.documents import MANIFEST_TYPE
from modelimage.progress import Lines, readable
from modelimage.traits import Traits
from oms.main import main
from tests.modelimage.oci_registry import MemoryRegistry


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "modelimage", *arguments], capture_output=True, text=True, check=False)


def test_json_is_one_object_on_stdout_and_all_else_is_on_stderr(tmp_path: Path, model: Path) -> None:
    done = run("pack", str(model), f"oci:{tmp_path / 'image'}", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    traits = {part.name for part in fields(Traits)}
    assert set(result) == {"digest", "reference", "size_bytes", "layers", *traits}
    assert all(set(layer) == {"digest", "size_bytes", "uploaded"} for layer in result["layers"])
    assert "model-00001-of-00003.safetensors: stored" in done.stderr
    assert "\x1b" not in done.stderr
    inspected = json.loads(run("inspect", result["reference"], "--json").stdout)
    assert inspected["digest"] == result["digest"]
    assert inspected["platform"] == "linux/amd64"
    assert inspected["digest_tag"] is False


def test_an_artifact_beside_an_image_for_arm_is_told_and_is_a_source_again(tmp_path: Path, model: Path) -> None:
    form = ("--modelpack", "--platform", "linux/arm64", "--json")
    made = json.loads(run("pack", str(model), f"oci:{tmp_path / 'image'}", *form).stdout)
    assert made["modelpack"].startswith(f"oci:{tmp_path / 'image'}@sha256:")
    assert made["modelpack"] != made["reference"]
    again = json.loads(run("pack", made["modelpack"], f"oci:{tmp_path / 'again'}", "--json").stdout)
    assert [layer["digest"] for layer in again["layers"]] == [layer["digest"] for layer in made["layers"]]
    assert json.loads(run("inspect", made["reference"], "--json").stdout)["platform"] == "linux/arm64"
    refused = run("inspect", made["reference"], "--for", "native")
    assert (refused.returncode, "linux/amd64 is needed" in refused.stderr) == (1, True)


def test_bad_input_ends_with_two_and_a_failure_with_one_and_neither_with_a_traceback(tmp_path: Path) -> None:
    bad = run("pack", str(tmp_path / "nothing"), "busybox")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert [line[:7] for line in bad.stderr.splitlines()] == ["error: "] * 2
    failed = run("inspect", f"oci:{tmp_path}")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "Traceback" not in bad.stderr + failed.stderr


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    program = f"{sys.executable} -m modelimage tiny {tmp_path / 'tiny'} --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_readable_form_names_the_digest_and_the_size(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image", "pack", str(model), f"oci:{tmp_path / 'image'}"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("digest: sha256:")
    assert "layers: 5" in out
    assert main(["image", "inspect", f"oci:{tmp_path / 'image'}"]) == 0
    assert "digest tag: false" in capsys.readouterr().out


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("modelimage.writing.run_all", interrupted)
    assert main(["image", "pack", str(model), f"oci:{tmp_path / 'image'}"]) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "image").exists()


def test_every_command_has_a_help_text_and_pack_says_what_its_base_is_for() -> None:
    for command in ("pack", "inspect", "tag", "copy", "context", "cloudbuild", "base", "tiny"):
        assert run(command, "--help").returncode == 0
    assert "modelcar needs" in run("pack", "--help").stdout


def test_lines_tell_of_a_slow_layer_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("modelimage.progress.time.monotonic", lambda: clock[0])
    lines = Lines(sys.stderr)
    lines.started("shard", 3000)
    lines.advanced("shard", 1000)
    clock[0] = 16.0
    lines.advanced("shard", 1000)
    lines.finished("shard", "stored")
    assert capsys.readouterr().err == "shard: 2.0 kB of 3.0 kB\nshard: stored\n"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2 * 10**9, "2.0 GB"), (5 * 10**12, "5.00 TB")]
)
def test_sizes_are_readable(size: int, text: str) -> None:
    assert readable(size) == text


def test_a_terminal_gets_bars_and_the_result_stays_clean(tmp_path: Path, model: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "modelimage", "pack", str(model), f"oci:{tmp_path / 'image'}", "--json"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=environment)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the end of a terminal whose other side is closed
        while data := os.read(ours, 65536):
            shown += data
    os.close(ours)
    assert process.stdout is not None
    assert json.loads(process.stdout.read())["digest"].startswith("sha256:")
    process.stdout.close()
    assert process.wait() == 0
    assert b"config.json and" in shown
    assert b"\x1b[" in shown


def test_what_is_attached_is_shown_and_comes_along_unless_it_is_left(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with MemoryRegistry().running() as registry:
        assert main(["image", "pack", str(model), f"{registry.host}/m", "--json"]) == 0
        image = json.loads(capsys.readouterr().out)["digest"]
        note = registry.put(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": "application/vnd.example.note",
                "config": registry.blob(b"{}"),
                "layers": [],
                "subject": {"mediaType": MANIFEST_TYPE, "digest": image, "size": 1},
            }
        )
        place = f"{registry.host}/m@{image}"
        assert main(["image", "inspect", place]) == 0
        assert f"attached: {note}  application/vnd.example.note\n" in capsys.readouterr().out
        assert main(["image", "copy", place, f"oci:{tmp_path / 'copy'}", "--json"]) == 0
        copied = json.loads(capsys.readouterr().out)
        assert [one["digest"] for one in copied["referrers"]] == [note]
        assert copied["left_behind"] == []
        assert main(["image", "copy", place, f"oci:{tmp_path / 'bare'}", "--json", "--no-referrers"]) == 0
        assert json.loads(capsys.readouterr().out)["referrers"] == []
