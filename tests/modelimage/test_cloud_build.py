"""Packing in Cloud Build, up to the border of Google's API: its real request types, a client that records."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden, NotFound, PermissionDenied, RequestRangeNotSatisfiable
from google.cloud.devtools import cloudbuild_v1

from modelimage import ImageError, cloud_build
from modelimage.cloud_build import BuildPlace, make_build, pack_in_cloud_build
from modelimage.progress import Reporter
from oci_model_serving.errors import InputError

SOURCE = "hf://org/name@" + "c" * 40
DIGEST = "sha256:" + "d" * 64
PLACE = BuildPlace("project", "us-central1")
Status = cloudbuild_v1.Build.Status


class Teller(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@dataclass
class FakeBuilds:
    """Cloud Build's client: takes one build and lets it go through its states."""

    states: list[Any]
    output: bytes = json.dumps({"digest": DIGEST, "size_bytes": 7}).encode()
    requests: list[Any] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    refuse: Exception | None = None

    def create_build(self, *, request: dict[str, Any]) -> Any:
        if self.refuse:
            raise self.refuse
        self.requests.append(cloudbuild_v1.CreateBuildRequest(request))  # Google's own types check it
        build = cloudbuild_v1.Build(id="b1", log_url="https://console.example/b1")
        return type("Operation", (), {"metadata": cloudbuild_v1.BuildOperationMetadata(build=build)})()

    def get_build(self, *, request: dict[str, Any]) -> cloudbuild_v1.Build:
        assert cloudbuild_v1.GetBuildRequest(request).name == "projects/project/locations/us-central1/builds/b1"
        state = self.states.pop(0)
        if isinstance(state, BaseException):
            raise state
        build = cloudbuild_v1.Build(
            id="b1", status=state, logs_bucket="gs://logs", log_url="https://console.example/b1"
        )
        if state == Status.SUCCESS:
            build.results = cloudbuild_v1.Results(build_step_outputs=[self.output] if self.output else [])
        if state == Status.FAILURE:
            build.failure_info = cloudbuild_v1.Build.FailureInfo(detail="step exited with 1")
        return build

    def cancel_build(self, *, request: dict[str, Any]) -> None:
        self.cancelled.append(cloudbuild_v1.CancelBuildRequest(request).name)


class FakeLog:
    """The storage client for one log object that grows at each look."""

    def __init__(self, *growth: bytes | Exception) -> None:
        self.growth, self.content, self.name = list(growth), b"", ""

    def bucket(self, name: str) -> FakeLog:
        assert name == "logs"
        return self

    def blob(self, name: str) -> FakeLog:
        assert name == "log-b1.txt"
        return self

    def download_as_bytes(self, *, start: int, checksum: None) -> bytes:
        more = self.growth.pop(0) if self.growth else b""
        if isinstance(more, Exception):
            raise more
        self.content += more
        if start >= len(self.content):
            raise RequestRangeNotSatisfiable("nothing new")  # type: ignore[no-untyped-call]
        return self.content[start:]


@pytest.fixture
def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    asked: list[str] = []

    def inspect(reference: str, **options: Any) -> str:
        assert options["require_digest_tag"] is True
        asked.append(reference)
        return "the image"

    monkeypatch.setattr(cloud_build, "inspect", inspect)
    return asked


def run(builds: FakeBuilds, log: FakeLog | None = None, reporter: Teller | None = None, **options: Any) -> Any:
    return pack_in_cloud_build(
        SOURCE,
        "us-docker.pkg.dev/p/models/qwen:v1",
        PLACE,
        client=builds,
        log_client=log or FakeLog(),
        reporter=reporter or Teller(),
        sleep=lambda _: None,
        **options,
    )


def test_the_digest_of_the_build_is_looked_up_in_the_registry(inspected: list[str]) -> None:
    builds = FakeBuilds([Status.QUEUED, Status.WORKING, Status.SUCCESS])
    assert run(builds) == "the image"
    assert inspected == [f"us-docker.pkg.dev/p/models/qwen@{DIGEST}"]
    assert builds.requests[0].parent == "projects/project/locations/us-central1"


def test_the_log_is_handed_on_line_by_line_while_it_grows(inspected: list[str]) -> None:
    log = FakeLog(NotFound("not yet"), b"one\ntw", b"", b"o\nthree")  # type: ignore[no-untyped-call]
    teller = Teller()
    run(FakeBuilds([Status.QUEUED, Status.WORKING, Status.WORKING, Status.SUCCESS]), log, teller)
    assert teller.lines[1:] == ["one", "two", "three"]
    assert "https://console.example/b1" in teller.lines[0]


def test_a_log_that_may_not_be_read_does_not_stop_the_build(inspected: list[str]) -> None:
    log = FakeLog(Forbidden("no"), Forbidden("no"))  # type: ignore[no-untyped-call]
    assert run(FakeBuilds([Status.WORKING, Status.SUCCESS]), log) == "the image"


@pytest.mark.parametrize(
    "state", [Status.FAILURE, Status.TIMEOUT, Status.CANCELLED, Status.INTERNAL_ERROR, Status.EXPIRED]
)
def test_a_build_that_ends_badly_is_told_with_its_log(inspected: list[str], state: Any) -> None:
    with pytest.raises(ImageError, match=f"ended as {state.name}.*read its log at https://console.example/b1"):
        run(FakeBuilds([Status.WORKING, state]))
    assert inspected == []


@pytest.mark.parametrize("output", [b"", b"{}", b'{"digest": "latest", "size_bytes": 1}', b"hello"])
def test_a_build_without_a_digest_is_not_believed(inspected: list[str], output: bytes) -> None:
    with pytest.raises(ImageError, match="left no digest"):
        run(FakeBuilds([Status.SUCCESS], output))
    assert inspected == []


def test_a_refused_build_says_what_to_check() -> None:
    builds = FakeBuilds([], refuse=PermissionDenied("nope"))  # type: ignore[no-untyped-call]
    with pytest.raises(ImageError, match=r"nope: check that cloudbuild.googleapis.com is enabled"):
        run(builds)


def test_an_interrupt_cancels_the_build() -> None:
    builds = FakeBuilds([Status.WORKING, KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        run(builds)
    assert builds.cancelled == ["projects/project/locations/us-central1/builds/b1"]


def test_the_request_carries_what_was_asked_for_within_the_limits() -> None:
    place = BuildPlace(
        "project",
        "us-central1",
        service_account="builder@project.iam.gserviceaccount.com",
        machine_type="E2_HIGHCPU_8",
        timeout_seconds=600,
        step_image="mirror.example/python@" + DIGEST,
        hf_token_secret="projects/p/secrets/hf/versions/1",
    )
    build = make_build(SOURCE, "h.example/r:t", place, base="h.example/b@" + DIGEST, allow=["$x"], ignore=["*.bin"])
    step = build.steps[0]
    assert len(step.args) <= 100
    assert max(len(argument) for argument in step.args) <= 10_000
    job = step.args[3 + int(step.args[2])]
    assert "$$x" in job
    assert json.loads(job.replace("$$", "$")) == {
        "source": SOURCE,
        "destination": "h.example/r:t",
        "base": "h.example/b@" + DIGEST,
        "allow": ["$x"],
        "ignore": ["*.bin"],
    }
    assert step.name == place.step_image
    assert step.secret_env == ["HF_TOKEN"]
    assert build.available_secrets.secret_manager[0].version_name == place.hf_token_secret
    assert build.service_account == "projects/project/serviceAccounts/builder@project.iam.gserviceaccount.com"
    assert build.options.machine_type.name == "E2_HIGHCPU_8"
    assert build.timeout.seconds == 600


def test_the_step_really_packs_when_its_arguments_are_run(tmp_path: Path, model: Path) -> None:
    """The step's own program, run here: only pip is a stand-in, since the requirements are installed already."""
    step = make_build(str(model), f"oci:{tmp_path / 'image'}", PLACE).steps[0]
    arguments = [argument.replace("$$", "$").replace("/workspace", str(tmp_path)) for argument in step.args]
    (tmp_path / "output").mkdir()
    (tmp_path / "stand-in").mkdir()
    (tmp_path / "stand-in" / "pip.py").write_text(
        f"import sys; open({str(tmp_path / 'pip-arguments')!r}, 'w').write(' '.join(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "BUILDER_OUTPUT": str(tmp_path / "output")},
        # `python -m pip` finds the stand-in here first; and the packer's code must come from the arguments alone.
        cwd=tmp_path / "stand-in",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    output = json.loads((tmp_path / "output" / "output").read_text())
    assert output["digest"].startswith("sha256:")
    assert (tmp_path / "image" / "index.json").exists()
    assert "httpx==" in (tmp_path / "pip-arguments").read_text()


def test_a_step_that_cannot_pack_says_so_and_fails_the_build(tmp_path: Path) -> None:
    job = json.dumps({"source": str(tmp_path / "nothing"), "destination": f"oci:{tmp_path / 'image'}"})
    command = [sys.executable, "-m", "modelimage.build_step", job]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "no such folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_code_that_travels_is_the_same_each_time_and_holds_what_packs_and_nothing_else() -> None:
    one, two = (make_build(SOURCE, "h.example/r", PLACE).steps[0].args for _ in range(2))
    assert list(one) == list(two)
    parts = int(one[2])
    with zipfile.ZipFile(io.BytesIO(base64.b64decode("".join(one[3 : 3 + parts])))) as archive:
        names = set(archive.namelist())
    program = (
        "import sys, modelimage.build_step, modelimage.packer, modelimage.hub, modelimage.bucket\n"
        "for name, module in sys.modules.items():\n"
        "    if name.split('.')[0] in ('modelimage', 'oci_model_serving'):\n"
        "        print('/'.join(module.__file__.split('/')[-2:]))"
    )
    needed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert names == set(needed.stdout.split())


def test_what_cannot_work_in_a_build_is_refused_all_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack_in_cloud_build(
            str(tmp_path),
            "oci:layout",
            BuildPlace("p", "r", machine_type="HUGE", timeout_seconds=1),
            base="oci:base@" + DIGEST,
            client=FakeBuilds([]),
        )
    assert len(caught.value.problems) == 5
