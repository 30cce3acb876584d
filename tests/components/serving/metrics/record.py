"""Records what a real vLLM says of itself under load: `python -m tests.components.serving.metrics.record`.

A quarter of an hour on two processors, with the packages of `tests.e2e.vllm_cpu`. The server has four places and a
cache for two and a half long requests. Two minutes nobody asks; for two it has one client; for seven more clients than
places, and one more every twenty seconds; then nobody.

`exposition.txt` is one whole reading, of each histogram's buckets the first; `series.json` has the series that rules
are judged on, one value every 15 s, and how many samples a reading has.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from modelimage.tiny import write_tiny_model
from tests.e2e.vllm_cpu import install
from tests.e2e.vllm_cpu.image import ENVIRONMENT

HERE = Path(__file__).parent
SECONDS = 15
_READINGS, _READING = 64, 40
"""How many there are, and which of them is kept whole: under load."""
_PORT = 18911
_SERIES = (
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "vllm:kv_cache_usage_perc",
    "vllm:num_preemptions_total",
    "vllm:request_success_total",
)
_ARGUMENTS = [
    "--served-model-name=tiny",
    "--host=127.0.0.1",
    f"--port={_PORT}",
    "--max-model-len=2048",
    "--max-num-seqs=4",
    "--num-gpu-blocks-override=40",
    "--enforce-eager",
]
_MOST_CLIENTS = 40


def main() -> None:
    """Serve, ask, read and write."""
    if why := install.install():
        sys.exit(why)
    with tempfile.TemporaryDirectory() as folder:
        model = write_tiny_model(f"{folder}/tiny")
        server = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", f"--model={model}", *_ARGUMENTS],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(install.SITE), "OMP_NUM_THREADS": "1", "HOME": folder},
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{_PORT}", timeout=3600, trust_env=False) as client:
                _await(client, server)
                readings = _load(client)
        finally:
            server.terminate()
            server.wait(60)
    (HERE / "exposition.txt").write_text(_whole(readings[_READING]))
    (HERE / "series.json").write_text(_chosen(readings))


def _await(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            client.get("/health").raise_for_status()
            return
        time.sleep(1)
    sys.exit(f"the server has ended with {server.returncode}")


def _load(client: httpx.Client) -> list[str]:
    wanted = [0]

    def ask(number: int) -> None:
        said = {"model": "tiny", "prompt": f"client {number} " + "hello " * 20, "max_tokens": 1600, "ignore_eos": True}
        while True:
            if number < wanted[0]:
                with contextlib.suppress(httpx.HTTPError):
                    client.post("/v1/completions", json=said)
            else:
                time.sleep(0.5)

    for number in range(_MOST_CLIENTS):
        threading.Thread(target=ask, args=(number,), daemon=True).start()
    began, readings = time.monotonic(), list[str]()
    for at in range(_READINGS):
        time.sleep(max(0.0, began + at * SECONDS - time.monotonic()))
        wanted[0] = _clients(at * SECONDS / 60)
        readings.append(client.get("/metrics").text)
    return readings


def _clients(minute: float) -> int:
    if minute < 2 or minute >= 11:
        return 0
    return 1 if minute < 4 else 6 + int((minute - 4) * 3)


def _whole(reading: str) -> str:
    kept, seen = [], set()
    for line in reading.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if line.startswith("# HELP") or (name.endswith("_bucket") and name in seen):
            continue
        seen.add(name)
        kept.append(line)
    return "\n".join(kept) + "\n"


def _chosen(readings: list[str]) -> str:
    series: dict[str, list[float]] = {}
    for reading in readings:
        for line in reading.splitlines():
            name, _, value = line.rpartition(" ")
            if name.partition("{")[0] in _SERIES:
                number = float(value)
                series.setdefault(name, []).append(int(number) if number.is_integer() else round(number, 4))
    samples = sum(not line.startswith("#") for line in readings[_READING].splitlines())
    made = {"seconds": SECONDS, "samples": samples, "series": dict(sorted(series.items()))}
    text = json.dumps(made, separators=(",", ":"))
    return text.replace('],"', '],\n"') + "\n"


if __name__ == "__main__":
    main()
