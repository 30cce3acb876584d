"""The command line: what it prints where, and how it ends."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.google import kubeconfig
from oms.main import main
from smoke import preflight, steps
from smoke.checks import Check
from smoke.coldstart import Measured
from smoke.comparison import compare
from smoke.report import Report
from smoke.timeline import SCHEMA
from tests.recorded_api import RecordedApi
from tests.smoke import openai_server, stacks
from tests.smoke.test_comparison import AS_PREDICTED, PREDICTED
from watch import waiting

TOKEN = "very-secret-token"


@pytest.fixture
def outputs(tmp_path: Path, cluster: RecordedApi) -> Path:
    file = tmp_path / "outputs.json"
    file.write_text(json.dumps({**stacks.raw_outputs(), "kubeconfig": cluster.kubeconfig}))
    return file


def run(outputs: Path, *arguments: str) -> int:
    """`oms check` and its sisters, as `python -m smoke` starts them."""
    given = arguments if arguments and not arguments[0].startswith("--") else ("check", *arguments)
    return main([given[0], "--stack", "dev", "--outputs", str(outputs), *given[1:]])


def test_checks_that_hold_end_with_0_and_a_line_each(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with openai_server.serve(stacks.KEY) as server:
        code = run(outputs, "--only", "validate", "--address", server.address)

    out = capsys.readouterr().out
    assert code == 0
    assert [line.split(":")[0] for line in out.splitlines()[:3]] == [
        f"pass  validate/{name} [{stacks.KEY}]" for name in ("models", "chat", "stream")
    ]
    assert out.splitlines()[-1] == "3 held, 0 failed, 0 skipped"


def test_a_check_that_fails_ends_with_1_and_shows_the_remedy(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with openai_server.serve("other") as server:
        code = run(outputs, "--only", "validate", "--address", server.address)

    out = capsys.readouterr().out
    assert code == 1
    assert "fail  validate/models" in out
    assert "remedy: set `models.NAME.servedName`" in out


def test_nothing_checked_is_no_success(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.loads(outputs.read_text())
    raw["models"][stacks.KEY]["paused"] = True
    outputs.write_text(json.dumps(raw))

    code = run(outputs, "--only", "validate", "--address", "127.0.0.1:1")

    out = capsys.readouterr().out
    assert code == 1
    assert "nothing was checked" in out
    assert f"validate/models [{stacks.KEY}]" in out.splitlines()[-2]


def test_json_is_one_object_on_stdout_with_the_diagnosis(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(outputs, "--only", "deployed", "--json")

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert code == 1
    assert document["ok"] is False
    assert document["stack"] == "dev"
    assert {check["status"] for check in document["checks"]} == {"fail"}
    assert set(document) == {"stack", "ok", "checks", "diagnosis", "coldstart"}
    assert "deployed/ready" in captured.err


def test_no_output_shows_the_kubeconfigs_credentials(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ((), ("--json",)):
        run(outputs, *arguments)

    captured = capsys.readouterr()
    assert TOKEN not in captured.out + captured.err


def test_no_colour_is_written_where_there_is_no_terminal(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(outputs)

    assert "\x1b" not in capsys.readouterr().out


def test_on_demand_steps_run_only_on_demand(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "check_image", lambda _: "there")
    run(outputs)
    assert "coldstart/" not in capsys.readouterr().out

    run(outputs, "--on-demand", "coldstart")
    assert "coldstart/resume" in capsys.readouterr().out


def test_all_bad_arguments_are_named_at_once(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(outputs, "--only", "scratch", "--timeout", "0", "--address", "example.com", "--kubeconfig", "absent")

    said = capsys.readouterr().err
    assert code == 2
    assert all(name in said for name in ("--timeout 0", "--scratch-image", "--address example.com", "absent"))
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "qwen"], "--model: "),
        (["pause", "--only", "validate"], "takes neither --only"),
        (["--on-demand", "scratch", "--scratch-image", "busybox:latest"], "--scratch-image: "),
        (["--address", "host:0"], "HOST:PORT"),
    ],
)
def test_a_bad_argument_ends_with_2_and_its_name(
    outputs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(outputs, *arguments) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kubeconfig", [None, "", kubeconfig.NONE])
def test_a_stack_without_a_cluster_uses_the_environments(
    outputs: Path, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kubeconfig: str | None
) -> None:
    raw = {**json.loads(outputs.read_text()), "kubeconfig": kubeconfig}
    outputs.write_text(json.dumps(raw))
    (tmp_path / "kubeconfig").write_text(cluster.kubeconfig)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    cluster.answers["GET", "/version"] = (200, {"gitVersion": "v1.35.4"})

    run(outputs, "--only", "preflight")

    assert any(path == "/version" for _, path, _ in cluster.requests)


def test_a_hidden_kubeconfig_is_never_replaced_by_the_environments(
    outputs: Path,
    cluster: RecordedApi,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    outputs.write_text(json.dumps({**json.loads(outputs.read_text()), "kubeconfig": "[secret]"}))
    file = tmp_path / "kubeconfig"
    file.write_text(cluster.kubeconfig)
    monkeypatch.setenv("KUBECONFIG", str(file))

    assert run(outputs, "pause") == 2
    said = capsys.readouterr().err
    assert "--show-secrets" in said
    assert "--kubeconfig FILE" in said
    assert not cluster.requests

    run(outputs, "--only", "preflight", "--kubeconfig", str(file))
    assert cluster.requests


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["pause"], "told to pause still do"), (["coldstart"], "was put back"), ([], "was put back")],
)
def test_an_interrupt_says_what_is_left(
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    def interrupted(*_: object) -> Iterator[Check]:
        raise KeyboardInterrupt

    monkeypatch.setattr(steps, "checks", interrupted)

    assert run(outputs, *arguments) == 130
    assert said in capsys.readouterr().err


def test_pause_and_resume_report_the_pods(
    outputs: Path, cluster: RecordedApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    path, body = stacks.served("modelcar")
    cluster.objects[path] = body
    pod = f"{stacks.path_of_pods()}/p-1"

    def controller(_path: str, found: dict[str, Any]) -> None:
        stopped = found["metadata"]["annotations"].get("serving.kserve.io/stop")
        cluster.objects |= {} if stopped == "true" else {pod: stacks.pod()}

    cluster.patched = controller

    assert run(outputs, "pause") == 0
    assert "no pod is left" in capsys.readouterr().out
    assert run(outputs, "resume") == 0
    assert "pod p-1 is ready" in capsys.readouterr().out


def test_pods_that_do_not_go_end_pause_with_1(
    outputs: Path, cluster: RecordedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    path, body = stacks.served("modelcar")
    cluster.objects |= {path: body, f"{stacks.path_of_pods()}/p-1": stacks.pod()}

    assert run(outputs, "pause", "--timeout", "0.05") == 1


def test_coldstart_shows_its_figures_as_a_table_and_as_json(
    outputs: Path, cluster: RecordedApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    path, body = stacks.served("modelcar")
    cluster.objects[path] = body
    cluster.objects["/api/v1/nodes/n-1"] = {"metadata": {"name": "n-1"}}
    pod = f"{stacks.path_of_pods()}/p-1"
    cluster.patched = lambda _path, found: (
        cluster.objects.pop(pod, None)
        if found["metadata"]["annotations"].get("serving.kserve.io/stop") == "true"
        else cluster.objects.__setitem__(pod, stacks.pod())
    )

    with openai_server.serve(stacks.KEY) as server:
        assert run(outputs, "coldstart", "--address", server.address) == 0
        table = capsys.readouterr().out
        assert run(outputs, "coldstart", "--address", server.address, "--json") == 0
        document = json.loads(capsys.readouterr().out)

    assert "server: start to ready" in table
    assert "60.0" in table
    assert "hold no prediction" in table
    figures = document["coldstart"][stacks.KEY]
    assert figures["server_start"] == 60
    assert figures["unpack"] is None
    assert (figures["schema"], figures["prediction"]) == (SCHEMA, None)


def test_coldstart_shows_the_prediction_and_the_constant_that_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(sys.stdout, sys.stderr, quiet=False)
    found = compare(AS_PREDICTED, PREDICTED)
    slow = compare(replace(AS_PREDICTED, load=80.0), PREDICTED)
    assert found
    assert slow

    report.coldstarts(Measured({"a": AS_PREDICTED, "b": AS_PREDICTED}, {"a": found, "b": slow}))

    said = capsys.readouterr().out
    assert "a: node_provision: 180 to 480 s predicted, bound by the node, 200.0 s measured: 1 times" in said
    assert "a: load: 16.0 s predicted, bound by the default loader, one thread, 18.0 s measured: 1.12 times" in said
    assert "b: load: load_cached,default of components/google/speeds.csv is off: 1000 MB/s there, 200 MB/s here" in said
    assert "is off" not in "".join(line for line in said.splitlines() if line.startswith("  a:"))
