"""What a model is for: read from its `config.json`, as its publisher wrote it.

The tables are vLLM's own (v0.23.0, `_SUFFIX_TO_DEFAULTS` of vllm/config/model.py and the registry of
vllm/model_executor/models): what is told here is what that server decides by itself from the same files.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Task(str, Enum):
    """What a server is asked for.

    Completions, vectors, scores of texts against a query, the text of a sound, or what only vLLM's own `/pooling` gives
    (classes, rewards).
    """

    GENERATION = "generation"
    EMBEDDING = "embedding"
    RERANKING = "reranking"
    SPEECH = "speech"
    POOLING = "pooling"

    @property
    def pools(self) -> bool:
        """Whether the server reads a text once and generates none: vLLM's runner `pooling`."""
        return self in {Task.EMBEDDING, Task.RERANKING, Task.POOLING}


_BY_NAME: Mapping[str, Task] = {
    **dict.fromkeys(
        ("AquilaModel", "ChatGLMModel", "MiDashengLMModel", "Qwen2_5OmniModel", "UltravoxModel"), Task.GENERATION
    ),
    **dict.fromkeys(("GritLM", "RobertaForMaskedLM"), Task.EMBEDDING),
    **dict.fromkeys(("PrithviGeoSpatialMAE", "Terratorch"), Task.POOLING),
    # Late interaction: a vector a token, which only the scoring API makes use of.
    **dict.fromkeys(
        (
            *("HF_ColBERT", "ColBERTModernBertModel", "ColBERTJinaRobertaModel", "ColBERTLfm2Model", "ColQwen3"),
            *("ColQwen3_5", "OpsColQwen3Model", "Qwen3VLNemotronEmbedModel", "ColPaliForRetrieval"),
            *("ColModernVBertForRetrieval", "JinaForRanking", "JinaVLForRanking"),
        ),
        Task.RERANKING,
    ),
    # `supports_transcription_only` in vLLM's classes, and the recognisers that are published for nothing else.
    **dict.fromkeys(
        (
            *("WhisperForConditionalGeneration", "CohereAsrForConditionalGeneration"),
            *("FireRedASR2ForConditionalGeneration", "FireRedLIDForConditionalGeneration"),
            *("FunASRForConditionalGeneration", "GlmAsrForConditionalGeneration", "Qwen3ASRForConditionalGeneration"),
        ),
        Task.SPEECH,
    ),
}
"""Architectures whose name says something else than its ending does."""
_CLASSIFIER = "ForSequenceClassification"
_BY_ENDING: tuple[tuple[str, Task], ...] = (
    ("ForCausalLM", Task.GENERATION),
    ("ForConditionalGeneration", Task.GENERATION),
    ("ChatModel", Task.GENERATION),
    ("LMHeadModel", Task.GENERATION),
    ("ForTextEncoding", Task.EMBEDDING),
    ("EmbeddingModel", Task.EMBEDDING),
    (_CLASSIFIER, Task.POOLING),
    ("ForTokenClassification", Task.POOLING),
    ("ForAudioClassification", Task.POOLING),
    ("ForImageClassification", Task.POOLING),
    ("ForVideoClassification", Task.POOLING),
    ("ClassificationModel", Task.POOLING),
    ("ForRewardModeling", Task.POOLING),
    ("RewardModel", Task.POOLING),
    ("Model", Task.EMBEDDING),
)
"""The ending of an architecture's name and its task; the first that fits counts."""
_MODULES = "modules.json"
_POOLING_MODULE = "_Pooling/config.json"


@dataclass(frozen=True)
class Architecture:
    """The first of `architectures` in a `config.json` ("" where it names none) and the task that it is made for."""

    name: str = ""
    task: Task = Task.GENERATION


def read(config: bytes, names: Collection[str] = ()) -> Architecture:
    """The architecture that a `config.json` names; what cannot be read names none.

    Args:
        config: its content; empty where there is none.
        names: paths of all files of the model. Embedding models of sentence-transformers are often of an architecture
            that generates (Qwen3-Embedding is a Qwen3ForCausalLM): their module of pooling says what they are for.
    """
    said = json_object(config)
    listed = said.get("architectures")
    name = listed[0] if isinstance(listed, list) and listed and isinstance(listed[0], str) else ""
    if _MODULES in names and any(path.endswith(_POOLING_MODULE) for path in names):
        return Architecture(name, Task.EMBEDDING)
    return Architecture(name, _task(name, said))


def _task(name: str, config: Mapping[str, Any]) -> Task:
    if name in _BY_NAME:
        return _BY_NAME[name]
    # The server scores pairs with a classifier of one label only (vllm/entrypoints/pooling/utils.py).
    if name.endswith(_CLASSIFIER) and _labels(config) == 1:
        return Task.RERANKING
    return next((task for ending, task in _BY_ENDING if name.endswith(ending)), Task.GENERATION)


def _labels(config: Mapping[str, Any]) -> int:
    """How many labels a classifier has; transformers takes two where its configuration names none."""
    names, number = config.get("id2label"), config.get("num_labels")
    if isinstance(names, dict):
        return len(names)
    return number if isinstance(number, int) else 2


def json_object(content: bytes) -> Mapping[str, Any]:
    """The JSON object that a file holds; an empty one where it holds anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def quantisation(config: Mapping[str, Any]) -> str:
    """How a `config.json` says that the weights are quantised (`quant_method`); empty where it says nothing of it."""
    for key in ("quantization_config", "compression_config"):
        said = config.get(key)
        if isinstance(said, dict):
            method = said.get("quant_method")
            return method if isinstance(method, str) and method else "unknown"
    return ""
