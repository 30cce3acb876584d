"""What all commands have in common: how they start, what their help says, and how they end."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oms.main import main, oms
from tests.offline.conftest import EXTENDED, MakeProject
from tests.workflows import install

ROOT = Path(__file__).parents[2]
COMMANDS = ["init", "up", "preview", "engine", "plan", "diff", "render", "policy", "stacks", "schema"]
COMMANDS += ["check", "pause", "resume", "coldstart", "image", "cache", "pin", "completion"]
VERBS = {
    "pack",
    "repack",
    "resolve",
    "sign",
    "attest",
    "verify",
    "prune",
    "inspect",
    "copy",
    "tag",
    "base",
    "context",
    "cloudbuild",
    "clusterbuild",
    "tiny",
    "disk",
}


def run(*words: str, **more: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, cwd=ROOT, **more)  # type: ignore[call-overload, no-any-return]


def test_the_help_lists_every_command_with_a_line_that_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert list(oms.sections["Deploy"]) == ["init", "up", "preview", "engine"]
    assert {name for names in oms.sections.values() for name in names} == set(COMMANDS)
    for name in COMMANDS:
        assert f"\n  {name} " in said
    assert "..." not in said.split("Options:")[1]
    assert "Examples:" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"Usage: oms {name}")
    if name not in {"engine", "image", "cache", "pin", "completion", "stacks", "schema"}:
        assert "--stack NAME" in said
        assert ("[default: local]" in " ".join(said.split())) is (name != "init"), "a new one has its model's name"
    if name not in {"engine", "image", "cache", "completion"}:
        assert "--json" in said


def test_the_images_verbs_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    main(["image", "--help"])
    said = capsys.readouterr().out
    assert {line.split()[0] for line in said.split("Commands:\n")[1].split("\n\n")[0].splitlines()} == VERBS


def test_the_help_is_there_at_once() -> None:
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert run("-m", "oms", "--help").returncode == 0
        took.append(time.monotonic() - began)
    assert min(took) < 0.4


def test_the_help_imports_neither_pulumi_nor_pydantic() -> None:
    code = "import sys; from oms.main import main; main(['--help']); print({'pulumi', 'pydantic'} & {*sys.modules})"
    assert run("-c", code).stdout.splitlines()[-1] == "set()"


def test_the_version_is_the_projects(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert f'\nversion = "{capsys.readouterr().out.strip()}"\n' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert f"_OMS_COMPLETE={shell}_complete" in capsys.readouterr().out


def test_commands_and_stacks_are_completed() -> None:
    def completed(words: str) -> set[str]:
        given = {"_OMS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        done = run("-m", "oms", env={**os.environ, **given})
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert completed("oms p") == {"plan", "policy", "preview", "pause", "pin"}
    assert completed("oms up --stack d") == {"dev"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["plan", "--nothing"], "No such option '--nothing'"),
        (["nothing"], "No such command 'nothing'"),
        (["plan", "--format", "xml"], "'xml' is not one of"),
        (["diff", "one"], "Missing argument 'HEAD'"),
        (["image", "pack"], "Missing argument 'SRC'"),
        (["up", "--stack"], "requires an argument"),
    ],
)
def test_a_wrong_call_ends_with_2_and_its_remedy(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert said in printed.err
    assert "--help`" in printed.err


def test_no_command_is_wrong_input_and_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Usage: oms" in printed.err


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["modelimage", "pack", "--help"], "oms image pack"),
        (["offline", "--help"], "oms plan"),
        (["offline", "diff", "--help"], "oms diff"),
        (["smoke", "--help"], "oms check"),
        (["smoke", "pause", "--help"], "oms pause"),
        (["smoke", "--stack", "dev", "coldstart", "--help"], "oms coldstart"),
        (["smoke", "--only", "coldstart", "--help"], "oms check"),
        (["smoke", "--json", "resume", "--help"], "oms resume"),
    ],
)
def test_the_old_spellings_are_doors(words: list[str], usage: str) -> None:
    done = run("-m", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {usage} ")


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_the_policy_folder_tells_a_person_what_it_is_and_starts_no_server(words: list[str], code: int) -> None:
    done = run("-m", "policy", *words, timeout=60)
    assert done.returncode == code
    assert "oms policy" in done.stdout


def test_the_policy_folder_serves_the_engine() -> None:
    # As sdk/python/dist/pulumi-analyzer-policy-python starts it.
    line = [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "."]
    process = subprocess.Popen(line, cwd=ROOT / "policy", stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert 0 < int(process.stdout.readline()) < 65536
    finally:
        process.kill()
        process.wait()


def test_the_installed_command_runs_from_any_folder_and_leaves_the_environment_alone(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "oms.py").write_text("raise SystemExit('the wrong oms')")
    done = subprocess.run(
        [tmp_path / ".venv" / "bin" / "oms", "--version"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "PYTHONPATH" not in (tmp_path / ".venv" / "bin" / "oms").read_text()


def test_an_error_of_the_system_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["image", "tiny", str(tmp_path / "file" / "below")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert str(tmp_path / "file") in said


def test_differences_end_with_1_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource: dict[str, object] = {"type": "t:m:T", "name": "n", "parent": None, "inputs": {}}
    for name, resources in (("empty", []), ("one", [resource])):
        (tmp_path / name).write_text(json.dumps({"resources": resources, "outputs": {}}))
    empty, one = str(tmp_path / "empty"), str(tmp_path / "one")
    assert main(["diff", empty, one]) == 0
    assert main(["diff", empty, one, "--exit-code"]) == 1
    assert main(["diff", one, one, "--exit-code"]) == 0
    capsys.readouterr()
    assert main(["diff", empty, one, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["create"] == 1


def test_the_policy_is_one_json_object_and_a_mandatory_violation_fails(
    project: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    program = """
        import pulumi_gcp as gcp
        gcp.projects.IAMBinding("b", project="demo", role="roles/editor", members=["allUsers"])
    """
    project(program, dev="config: {}\n")
    assert main(["policy", "--stack", "dev", "--json"]) == 1
    printed = capsys.readouterr()
    verdict = json.loads(printed.out)
    assert (verdict["stack"], verdict["ok"]) == ("dev", False)
    assert "no-public-members" in {found["rule"] for found in verdict["violations"]}
    assert "policy: 4 mandatory, 0 advisory violations" in printed.err


SLOW = """
    import pathlib, time
    pathlib.Path("started").touch()
    time.sleep(60)
"""


def interrupted(words: list[str], folder: Path, ready: Path, number: int = signal.SIGINT) -> tuple[int, str]:
    """Run a command in a process group of its own, signal the group as a terminal does; its exit code and stderr."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 60
        while not ready.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.05)
        began = time.monotonic()
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=60)
        assert time.monotonic() - began < 10
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_a_plan_is_one_line_and_130(project: MakeProject, number: int) -> None:
    folder = project(SLOW, dev="config: {}\n")
    code, said = interrupted(["oms", "plan", "--stack", "dev"], folder, folder / "started", number)
    assert code == 130
    assert said == "interrupted: nothing was changed\n"


ENGINE = f"""\
#!{sys.executable}
import pathlib, signal, sys, time
if sys.argv[1] == "stack":
    sys.exit(0)
def cancel(*_):
    time.sleep(0.5)
    pathlib.Path("cancelled").touch()
    sys.exit(1)
signal.signal(signal.SIGINT, cancel)
signal.signal(signal.SIGTERM, cancel)
pathlib.Path("started").touch()
time.sleep(60)
"""


@pytest.mark.parametrize("command", ["up", "preview"])
def test_an_interrupt_leaves_the_engine_to_cancel_by_itself_and_waits_for_it(
    project: MakeProject, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    folder = project("", local="config: {}\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "pulumi").write_text(ENGINE)
    (folder / "bin" / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_BACKEND_URL", (folder / "state").as_uri())
    code, said = interrupted(["oms", command], folder, folder / "started")
    assert code == 130
    assert (folder / "cancelled").exists()
    # On a slow machine it has said before that it goes on.
    assert said.splitlines()[-1] == "interrupted: what the engine says above holds; the same command again goes on"
    assert "Traceback" not in said


BUILDS = """
    import sys
    import pulumi_command as command

    for number in range(3):
        command.local.Command(f"m{number}-build", create=f"{sys.executable} -m modelimage pack w oci:m{number} --json")
"""
BUILD = """\
import pathlib, time
with open("runs", "a") as runs:
    runs.write("x")
pathlib.Path("started").touch()
time.sleep(60)
"""


def test_an_interrupt_of_up_without_engine_ends_its_build_and_starts_no_other(project: MakeProject) -> None:
    folder = project(BUILDS, local="config: {}\n")
    (folder / "modelimage").mkdir()
    (folder / "modelimage" / "__init__.py").write_text(EXTENDED)
    (folder / "modelimage" / "__main__.py").write_text(BUILD)
    (folder / "no_engine.py").write_text(
        "import oms.engine\nfrom oms.main import start\noms.engine.find = lambda: None\nstart('up')\n"
    )
    code, said = interrupted(["no_engine"], folder, folder / "started")
    assert code == 130
    assert said.splitlines()[-1].startswith("interrupted: no other build is started")
    assert "Traceback" not in said
    assert (folder / "runs").read_text() == "x"


def test_no_colour_is_written_off_a_terminal_and_a_terminal_is_no_file(project: MakeProject) -> None:
    folder = project("import pulumi; pulumi.export('stack', pulumi.get_stack())", dev="config: {}\n")
    line = [sys.executable, "-m", "oms", "plan", "--stack", "dev"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, check=True)
    assert b"\x1b[" not in done.stdout + done.stderr
    ours, theirs = pty.openpty()
    subprocess.run(line, cwd=folder, env=environment, stdout=theirs, stderr=subprocess.DEVNULL, check=True)
    os.close(theirs)
    assert b"\x1b[" in os.read(ours, 65536)
    os.close(ours)
