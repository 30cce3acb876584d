"""KubeAI pulls by a tag: from a registry where it cannot move, or by the settings' word, and then looked at again."""

from types import SimpleNamespace
from typing import Any

import pulumi
import pytest

import modelimage
from components.serving import digest_tags
from components.serving.digest_tags import TagError
from components.settings.reader import SettingsError
from modelimage.refusals import RegistryError
from oci_model_serving.reference import digest_tag
from tests import serving
from tests.mocks import DIGEST, Recording

HUB = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
GOOGLE = f"us-docker.pkg.dev/other/models/qwen@{DIGEST}"


def run(registry: dict[str, Any], **model: Any) -> Recording:
    models = {"qwen": {"delivery": "kubeai", **({} if model else {"source": HUB, "base": "scratch"}), **model}}
    return serving.run(serving.gke(models, registry=registry))


def url(recording: Recording) -> str:
    said: str = serving.one(recording, "Model")["spec"]["url"]
    return said


@pytest.mark.parametrize(
    ("registry", "model", "key"),
    [
        ({"url": "registry.example/models"}, {}, "registry.mutableTags"),
        ({"create": {"repository": "models", "immutableTags": False}}, {}, "registry.create.immutableTags"),
        ({"create": {"repository": "models"}}, {"digest": serving.IMAGE}, "models.qwen.digest"),
        ({"url": "ghcr.io/acme"}, {"digest": serving.IMAGE, "copy": True}, "registry.mutableTags"),
    ],
)
def test_kubeai_is_refused_on_a_registry_whose_tags_may_move(
    registry: dict[str, Any], model: dict[str, Any], key: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        run(registry, **model)

    (problem,) = caught.value.problems
    assert problem.startswith(f"oci-model-serving:{key}: ")
    assert "registry.mutableTags: accept" in problem
    assert url(run({**registry, "mutableTags": "accept"}, **model))  # and the remedy works


@pytest.mark.parametrize(
    ("registry", "model"),
    [
        ({"create": {"repository": "models"}}, {}),
        ({"create": {"repository": "models"}}, {"digest": serving.IMAGE, "copy": True}),
        ({"url": "us-docker.pkg.dev/demo/models"}, {}),
        ({"url": "registry.example/models"}, {"digest": GOOGLE}),
    ],
)
def test_a_repository_with_immutable_tags_is_enough(registry: dict[str, Any], model: dict[str, Any]) -> None:
    assert url(run(registry, **model)).endswith(f":{digest_tag(DIGEST)}")


def test_kserve_goes_by_the_digest_and_is_refused_nothing() -> None:
    models = {"qwen": {"digest": serving.IMAGE}}

    recording = serving.run(serving.gke(models, registry={"url": "registry.example/models"}))

    assert serving.one(recording, "InferenceService")


@pytest.mark.parametrize("configs", [[], [SimpleNamespace(immutable_tags=False)]])
def test_an_adopted_repository_is_refused_where_google_says_that_its_tags_can_move(
    configs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, str]] = []

    def get_repository_output(**given: str) -> SimpleNamespace:
        asked.append(given)
        return SimpleNamespace(docker_configs=pulumi.Output.from_input(configs))

    found = SimpleNamespace(artifactregistry=SimpleNamespace(get_repository_output=get_repository_output))
    monkeypatch.setattr(digest_tags, "gcp", found)

    with pytest.raises(TagError, match="gcloud artifacts repositories update models --project=other --location=us"):
        run({"url": "us-docker.pkg.dev/other/models"})

    assert asked == [{"project": "other", "location": "us", "repository_id": "models"}]


def deployed(monkeypatch: pytest.MonkeyPatch, image: str) -> None:
    async def outputs(*_: Any) -> dict[str, Any]:
        return {"outputs": {"models": {"qwen": {"image": image}}}}

    monkeypatch.setattr(digest_tags, "invoke_async", outputs)


def registry_says(monkeypatch: pytest.MonkeyPatch, answer: bool | Exception) -> list[str]:
    asked: list[str] = []

    def inspect(reference: str, **_: Any) -> SimpleNamespace:
        asked.append(reference)
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(digest_tag=answer)

    monkeypatch.setattr(modelimage, "inspect", inspect)
    return asked


MUTABLE = {"url": "registry.example/models", "mutableTags": "accept"}


def test_where_tags_may_move_a_deployed_one_is_looked_at_before_each_update(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, serving.IMAGE)
    asked = registry_says(monkeypatch, answer=True)

    assert url(run(MUTABLE, digest=serving.IMAGE)) == f"oci://registry.example/models/qwen:{digest_tag(DIGEST)}"
    assert asked == [serving.IMAGE]


def test_a_tag_that_has_moved_under_a_deployed_model_stops_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, serving.IMAGE)
    registry_says(monkeypatch, answer=False)

    with pytest.raises(TagError, match=f"no longer means {DIGEST}.*oms image tag {serving.IMAGE}"):
        run(MUTABLE, digest=serving.IMAGE)


def test_a_registry_that_does_not_answer_is_told_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, serving.IMAGE)
    registry_says(monkeypatch, RegistryError("registry.example does not answer"))

    recording = run(MUTABLE, digest=serving.IMAGE)

    assert any("is not known: registry.example does not answer" in text for _, text in recording.messages)


def test_an_image_that_is_not_deployed_yet_is_not_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, f"registry.example/models/qwen@sha256:{'f' * 64}")
    asked = registry_says(monkeypatch, answer=True)

    assert url(run(MUTABLE, digest=serving.IMAGE))
    assert asked == []
