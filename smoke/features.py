"""What the image of a running vLLM has, asked in its pod, against what its arguments use (`server_features`)."""

import json

from components.serving import server_features
from components.serving.server_features import AUTO_LENGTH, STREAMER
from oci_model_serving.outputs import ModelOutput
from smoke.checks import NotRunError
from watch.causes import NotHeldError
from watch.containers import containers_of
from watch.kube import JSON, KubeApi

# Nothing of vLLM is imported, which takes seconds and memory: what is looked for is found without.
_PROBE = """
import json
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
vllm = find_spec("vllm")
said = {}
if vllm and vllm.origin:
    cache = Path(vllm.origin).parent / "v1" / "core" / "kv_cache_utils.py"
    try:
        said["version"] = version("vllm")
    except PackageNotFoundError:
        said["version"] = ""
    said["runai-streamer"] = find_spec("runai_model_streamer") is not None
    said["max-model-len-auto"] = cache.is_file() and "_auto_fit_max_model_len" in cache.read_text()
print(json.dumps(said))
"""
_USED_BY = {STREAMER: "--load-format=runai_streamer", AUTO_LENGTH: "--max-model-len=auto"}


def check_features(api: KubeApi, model: ModelOutput, pod: JSON) -> str:
    """Say what the image of a pod has, and what to write of it; refused is what its arguments use and it has not.

    Raises:
        NotHeldError: the server is told what its image cannot do.
        NotRunError: there is no vLLM that could be asked.
    """
    platform = model.serving.platform
    command = ["python3", "-c", _PROBE]
    try:
        done = api.execute(model.namespace, pod["metadata"]["name"], platform.container, command, timeout=60)
    except NotHeldError as error:
        # An image without python3 is another server's; and nobody need have the right to run commands in pods.
        raise NotRunError(f"the server's container could not be asked: {error.evidence}") from None
    said = _read(done.stdout) if done.code == 0 else {}
    if not said:
        raise NotRunError("the server's container has no vLLM that python3 finds: features are vLLM's alone")
    container = containers_of(pod).get(platform.container, {})
    has = [feature for feature in _USED_BY if said.get(feature) is True]
    lacks = [feature for feature, used in _USED_BY.items() if used in container.get("args", []) and feature not in has]
    setting = f"platforms.{platform.name}.server.features"
    if lacks:
        raise NotHeldError(
            f"{container.get('image')} is told to use {', '.join(lacks)}, and has it not",
            f"write {setting}: [{', '.join(has)}]",
        )
    found = f"vLLM {str(said.get('version'))[:40] or 'of no version'} has {', '.join(has) or 'none of the features'}"
    known = server_features.known(str(container.get("image")))
    return found if known == set(has) else f"{found}: {setting} is to be [{', '.join(has)}]"


def _read(text: str) -> JSON:
    """What the probe has printed; nothing of anything else."""
    try:
        read = json.loads(text)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
