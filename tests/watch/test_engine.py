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


@pytest.mark.parametrize(
    "warning",
    [
        "WARNING 11-25 10:00:00 [scheduler.py:2] max_num_batched_tokens (2048) is smaller than max_model_len (32768).",
        "(EngineCore_DP0 pid=71) WARNING 11-25 10:00:00 [fp8.py:161] DeepGEMM backend is not available or outdated.",
        "(Worker_TP0 pid=9) INFO 11-25 10:00:00 [lora.py:9] CutlassExperts does not support LoRA, using TritonExperts",
        "2026-11-25T10:00:00.175228Z  WARN text_generation_launcher: Could not import: No module named 'mamba_ssm'",
        "2026-11-25 10:00:00.123 1 kserve WARNING [loader.py:f():9] Read-only file system: '/root/.cache'",
        "2026-11-25 10:00:00,123 - vllm.worker - INFO - does not support LoRA, goes on without",
        "W1125 10:00:00.123456 1 model.cc:99] No module named x: ModuleNotFoundError: No module named 'x'",
        "ERROR 11-25 10:00:00 [repo_utils.py:9] Error retrieving file list: offline mode is enabled, retrying 1 of 2",
        "[W1125 10:00:00 socket.cpp:426] [c10d] failed to listen on [::]:29500 (errno: 98 - Address already in use).",
        "\x1b[33mWARNING\x1b[0m: ModuleNotFoundError: No module named 'vllm._C'",
        "mkdir -p failed for path /.config/matplotlib: [Errno 30] Read-only file system: '/.config'",
        "There was a problem when trying to write in your cache folder (/root/.cache/huggingface/hub). You should …",
    ],
)
def test_what_a_server_has_only_warned_of_is_no_cause(warning: str) -> None:
    assert codes(f"{warning}\n{warning}\nRuntimeError: No CUDA GPUs are available") == ["no-gpu"]
    assert codes(f"INFO: started\n{warning}\n", code=137, reason="OOMKilled") == ["out-of-memory"]
    assert codes(f"{warning}\nError: of a kind that nobody has seen") == ["crash-kserve-container"]


def test_an_error_that_a_server_logs_is_a_cause_whatever_stands_before_its_level() -> None:
    error = "ERROR 11-25 10:00:00 [core.py:9] ModuleNotFoundError: No module named 'flash_attn'"

    assert codes(error) == codes(f"(EngineCore_DP0 pid=71) {error}") == ["module-missing"]


def test_a_server_that_still_starts_is_given_time_and_not_called_unknown() -> None:
    status = {"name": "kserve-container", "ready": False, "restartCount": 0, "state": {"running": {}}}
    pod = {"metadata": {"name": "qwen", "namespace": "models"}, "status": {"containerStatuses": [status]}}
    log = "INFO 11-25 10:00:00 [loader.py:9] Loading weights: 10%"

    (cause,) = diagnose(Case(pod, logs={"kserve-container": log}))

    assert log in cause.evidence
    assert "`models.NAME.startupTimeout`" in cause.remedy


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
        "Failed core proc(s): {",
        "Model architectures [",
        "NVMLError",
        "input_size",
        "ncclCuMem",
        "BatchedGemm",
        "Assertion error (",
        "Quantization method specified in the model config (",
        "Unable to retrieve some image pull secrets (",
        "(a) (a) ",
        " retrying 1 of 2",
    ],
)
@pytest.mark.parametrize("lines", [1, 200])
def test_a_log_that_was_made_to_keep_the_search_busy_does_not(words: str, lines: int) -> None:
    line = words * (256 * 1024 // lines // len(words))
    begun = time.process_time()

    ended("", logs={"kserve-container": "\n".join([line] * lines)})

    assert time.process_time() - begun < 20
