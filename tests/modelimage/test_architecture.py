"""What a model is for, from its own files: as vLLM v0.23.0 would decide it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelimage.architecture import Architecture, Task, read

EMBEDS = ["modules.json", "1_Pooling/config.json", "config_sentence_transformers.json", "config.json"]


def config(name: str, **more: Any) -> bytes:
    return json.dumps({"architectures": [name], **more}).encode()


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("Qwen2ForCausalLM", "generation"),
        ("Qwen2_5_VLForConditionalGeneration", "generation"),
        ("InternVLChatModel", "generation"),
        ("GPT2LMHeadModel", "generation"),
        ("ChatGLMModel", "generation"),
        ("BertModel", "embedding"),
        ("XLMRobertaModel", "embedding"),
        ("NomicBertModel", "embedding"),
        ("MistralModel", "embedding"),
        ("RobertaForMaskedLM", "embedding"),
        ("HF_ColBERT", "reranking"),
        ("JinaForRanking", "reranking"),
        ("WhisperForConditionalGeneration", "speech"),
        ("BertForTokenClassification", "pooling"),
        ("Qwen2ForProcessRewardModel", "pooling"),
        ("SomethingThatNobodyKnows", "generation"),
    ],
)
def test_the_task_follows_from_the_architectures_name(name: str, task: str) -> None:
    assert read(config(name)) == Architecture(name, Task(task))


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ({"id2label": {"0": "LABEL_0"}}, Task.RERANKING),
        ({"num_labels": 1}, Task.RERANKING),
        ({"id2label": {"0": "no", "1": "yes"}}, Task.POOLING),
        ({}, Task.POOLING),  # transformers takes two
    ],
)
def test_a_classifier_scores_pairs_only_with_one_label(labels: dict[str, Any], task: Task) -> None:
    assert read(config("XLMRobertaForSequenceClassification", **labels)).task is task


def test_a_generating_architecture_with_a_module_of_pooling_is_for_embedding() -> None:
    assert read(config("Qwen3ForCausalLM"), EMBEDS).task is Task.EMBEDDING
    assert read(config("Qwen3ForCausalLM"), ["config.json", "modules.json"]).task is Task.GENERATION


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"architectures": []}', '{"architectures": [1]}', '{"architectures": "A"}', "[" * 9**5],
)
def test_a_config_that_names_no_architecture_is_taken_to_generate(text: str) -> None:
    assert read(text.encode()) == Architecture()


@settings(deadline=None)
@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_content_of_a_config_is_an_error(content: bytes) -> None:
    assert isinstance(read(content), Architecture)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["architectures", "id2label", "num_labels"]), st.none() | st.integers() | st.text())
)
def test_no_value_of_a_known_key_is_an_error(said: dict[str, Any]) -> None:
    assert isinstance(read(json.dumps(said).encode()).task, Task)
