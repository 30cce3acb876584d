"""What KubeAI calls the tasks of models, by which it lists them and knows the paths of its endpoint."""

from components.serving.unservable import UnservableError
from modelimage.architecture import Task

FEATURES = {
    Task.GENERATION: "TextGeneration",
    Task.EMBEDDING: "TextEmbedding",
    Task.RERANKING: "Reranking",
    Task.SPEECH: "SpeechToText",
}
"""The tasks for which there is one (chart 0.22.1, api/k8s/v1/model_types.go)."""
NO_FEATURE = (
    "KubeAI's endpoint has no path for {task}: write delivery: native or modelcar, or set models.NAME.task where the "
    "model's own config.json says the wrong thing"
)


def features(task: Task) -> list[str]:
    """The `features` of a Model.

    Raises:
        UnservableError: KubeAI has none for the task.
    """
    if task not in FEATURES:
        raise UnservableError(NO_FEATURE.format(task=task.value))
    return [FEATURES[task]]
