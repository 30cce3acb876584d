"""What a server says last becomes its cause, with the value that follows from its own numbers."""

import time
from typing import Any

import pytest

from watch.causes import Cause
from watch.complaints import Case
from watch.diagnosis import diagnose


def ended(words: str, *, code: int = 1, reason: str = "Error", **known: Any) -> list[Cause]:
    image = "docker.io/vllm/vllm-openai:v0.23.0"
    end = {"exitCode": code, "reason": reason, "message": words}
    status = {"name": "kserve-container", "restartCount": 2, "lastState": {"terminated": end}}
    pod = {
        "metadata": {"name": "qwen", "namespace": "models"},
        "spec": {"containers": [{"name": "kserve-container", "image": image}]},
        "status": {"containerStatuses": [status]},
    }
    return diagnose(Case(pod, **known))


def codes(words: str, **end: Any) -> list[str]:
    return [cause.code for cause in ended(words, **end)]


def remedy(words: str) -> str:
    (cause,) = ended(words)
    return cause.remedy


@pytest.mark.parametrize("code", [134, 137, 139, 143])
def test_an_exit_code_is_told_only_where_the_server_says_nothing_that_is_known(code: int) -> None:
    (alone,) = codes("", code=code)

    assert alone in {"killed", "native-crash", "stopped"}
    assert codes("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", code=code) == ["gpu-memory"]


def test_words_that_point_further_up_are_told_only_alone() -> None:
    above = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"

    assert codes(above) == ["cause-above"]
    assert codes(f"RuntimeError: No CUDA GPUs are available\n{above}") == ["no-gpu"]
    assert codes(above.replace("{}", "{'EngineCore_DP0': -9}")) == ["out-of-memory"]


def test_a_log_that_was_read_says_what_a_status_without_words_does_not() -> None:
    log = "AssertionError: please set tensor_parallel_size (8) to less than max local gpu count\n"
    words = "ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8)."

    assert codes("", logs={"kserve-container": log + words}) == ["heads-not-divisible"]


@pytest.mark.parametrize(("heads", "gpus", "fit"), [(28, 8, 4), (14, 4, 2), (25, 2, 1), (64, 48, 16), (12, 16, 4)])
def test_the_gpus_that_are_advised_divide_the_heads(heads: int, gpus: int, fit: int) -> None:
    told = remedy(
        f"ValueError: Total number of attention heads ({heads}) must be divisible by tensor parallel size ({gpus})."
    )

    assert f"`models.NAME.gpus: {fit}`" in told


def test_the_length_that_is_advised_is_the_servers_own_or_what_its_cache_has_room_for() -> None:
    short = (
        "ValueError: To serve at least one request with the models's max seq len (32768), (4.50 GiB KV cache is "
        "needed, which is larger than the available KV cache memory (1.10 GiB)."
    )

    assert "`--max-model-len=8000`" in remedy(f"{short} Try increasing `gpu_memory_utilization`.")
    assert "`--max-model-len=7984`" in remedy(
        f"{short} Based on the available memory, the estimated maximum model length is 7984."
    )
    assert "`--max-model-len=16`" in remedy(short.replace("1.10", "0.00"))


def test_the_share_of_a_gpu_that_is_advised_is_free() -> None:
    told = remedy(
        "ValueError: Free memory on device cuda:0 (10.1/22.03 GiB) on startup is less than desired GPU memory "
        "utilization (0.9, 19.83 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
    )

    assert "`--gpu-memory-utilization=0.45`" in told


def test_a_group_of_words_that_were_not_there_leaves_no_trace() -> None:
    told = remedy("ERROR: [Errno 98] Address already in use")

    assert "{" not in told
    assert "the server's port is taken" in told


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("OSError: [Errno 30] Read-only file system: '/root/.cache'", "/root/.cache"),
        ("mkdir: cannot create directory '/data': Read-only file system", "/data"),
        ("Error: Read-only file system (os error 30)", "another place"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_where_the_words_name_it(words: str, place: str) -> None:
    assert f"the server writes to {place}, and" in remedy(words)


@pytest.mark.parametrize(
    "words",
    [
        "x",
        "/",
        "in load_model ",
        "in capture_model CUDA ",
        "CUDA out of memory ",
        "Value error, ",
        "NCCL WARN P2P ",
        "Permission denied ",
        "https://edge.urm.nvidia.com/",
        "tokenization_x.py ",
        "'a.weight', ",
    ],
)
@pytest.mark.parametrize("lines", [1, 200])
def test_a_log_that_was_made_to_keep_the_search_busy_does_not(words: str, lines: int) -> None:
    line = words * (256 * 1024 // lines // len(words))
    begun = time.process_time()

    ended("", logs={"kserve-container": "\n".join([line] * lines)})

    assert time.process_time() - begun < 20
