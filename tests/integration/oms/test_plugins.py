"""The plugins that the real engine asks for where there are none: a stack's, not those of all that is installed."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.engine.ground import NEEDS_PULUMI, PULUMI
from tests.serving import ROOT

HOST = shutil.which("pulumi-language-python")

pytestmark = [
    pytest.mark.integration,
    NEEDS_PULUMI,
    pytest.mark.skipif(HOST is None, reason="pulumi-language-python is not on PATH"),
]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The providers whose plugins were asked for, of a server that has none."""
    names: set[str] = set()

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names.update(re.findall(r"pulumi-resource-([a-z]+)-v", self.path))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PULUMI_PLUGIN_DOWNLOAD_URL_OVERRIDES", f".*=http://127.0.0.1:{server.server_port}")
        yield names
        server.shutdown()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program on a fresh machine, where PATH has the engine and the language host only."""
    for name in ("__main__.py", "Pulumi.yaml", "components", "modelimage", "oci_model_serving"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "Pulumi.local.yaml", tmp_path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    found = tmp_path / "bin"
    found.mkdir()
    for tool in (str(PULUMI), str(HOST), f"{HOST}-exec"):
        (found / Path(tool).name).symlink_to(tool)
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", f"{found}:/usr/bin:/bin")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))
    return tmp_path


def run(project: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=project, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def preview(project: Path) -> str:
    start = "import sys; sys.path[0] = sys.argv.pop(1); from oms.main import start; start()"
    return run(project, sys.executable, "-c", start, str(ROOT), "preview", "--stack", "local")


def test_a_local_stack_needs_the_plugins_of_neither_google_nor_docker(project: Path, asked: set[str]) -> None:
    said = preview(project)

    # The first that the program needs ends it here: there is none.
    assert asked, said
    assert asked <= {"command", "kubernetes"}, said


def test_without_that_option_the_engine_asks_for_all_whose_sdk_is_installed(
    project: Path, asked: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_OPTION_SKIP_PLUGIN_PRE_INSTALL", "false")
    said = preview(project)

    assert asked >= {"command", "docker", "gcp", "kubernetes"}, said
