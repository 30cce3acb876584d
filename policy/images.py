"""Where images are named in the resources that this project declares, and what kind of name each is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oci_model_serving.delivery import STREAM_CONTAINER, STREAM_SCHEME

Props = Mapping[str, Any]

_DIGEST = r"sha256:[0-9a-f]{64}"
_MODEL_BY_DIGEST = re.compile(rf"[^@:/\s]+(:[0-9]+)?/[^@:\s]+@{_DIGEST}")
_BY_DIGEST = re.compile(rf".+@{_DIGEST}")
_OCI_BY_DIGEST = re.compile(rf"oci(\+native|\+fetch|\+stream)?://[^@:/]+(:[0-9]+)?/[^@:]+@{_DIGEST}")
_OCI_DIGEST_TAG = re.compile(r"oci://[^@:/]+(:[0-9]+)?/[^@:]+:digest-sha256-[0-9a-f]{64}")
_SERVING = ("InferenceService", "InferenceGraph", "TrainedModel", "LLMInferenceService")
_COMPONENTS = ("predictor", "transformer", "explainer", "model")


def mapping(value: Any) -> Props:
    """The value if it is a mapping, else an empty one: a plan may hold `known after …` anywhere."""
    return value if isinstance(value, Mapping) else {}


def is_unknown(value: Any) -> bool:
    """Whether only a real run knows the value; no rule can judge it before."""
    return isinstance(value, str) and value.startswith("known after ")


def is_on(value: Any) -> bool:
    """Whether a switch is on, also where it is written as a text."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def kind_of(type_: str) -> str:
    """The Kubernetes kind of a resource type; empty for other resources."""
    return type_.rsplit(":", 1)[-1] if type_.startswith("kubernetes:") else ""


def is_by_digest(image: str) -> bool:
    """Whether a container's image is named by digest."""
    return bool(_BY_DIGEST.fullmatch(image))


def is_model_by_digest(image: str) -> bool:
    """Whether a model's image is named by digest alone: a tag beside it would say something else."""
    return bool(_MODEL_BY_DIGEST.fullmatch(image))


def tag_of(image: str) -> str:
    """The tag of an image that is not named by digest; empty without one."""
    last = image.rsplit("/", 1)[-1]
    return last.partition(":")[2] if "@" not in last else ""


def repository_of(image: str) -> str:
    """The image's `host/path` without scheme, tag and digest."""
    name = re.sub(r"^[a-z+]+://", "", image).partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def model_uris(type_: str, props: Props) -> Iterator[tuple[str, str, bool]]:
    """Path, text, and whether the text is in the only form that serves by digest, of each model's location."""
    kind = kind_of(type_)
    spec = mapping(props.get("spec"))
    if type_.startswith("kubernetes:kubeai.org/") and kind == "Model":
        url = str(spec.get("url") or "")
        yield "spec.url", url, bool(_OCI_DIGEST_TAG.fullmatch(url))
        adapters = spec.get("adapters")
        for index, adapter in enumerate(adapters if isinstance(adapters, Sequence) else []):
            url = str(mapping(adapter).get("url") or "")
            yield f"spec.adapters[{index}].url", url, bool(_OCI_DIGEST_TAG.fullmatch(url))
    elif kind in _SERVING:
        for path, text in (*_serving_uris(spec), *streams(mapping(spec.get("predictor")))):
            yield path, text, bool(_OCI_BY_DIGEST.fullmatch(text))
    for path, volume in _image_volumes(props):
        yield path, volume, is_model_by_digest(volume)


def streams(predictor: Props) -> Iterator[tuple[str, str]]:
    """Path and text of what the sidecars of an InferenceService's predictor are told to stream, known yet or not."""
    found = predictor.get("initContainers")
    for at, one in enumerate(found if isinstance(found, Sequence) and not isinstance(found, str) else ()):
        container = mapping(one)
        words = container.get("args")
        own = container.get("name") == STREAM_CONTAINER
        for index, word in enumerate(words if isinstance(words, Sequence) and not isinstance(words, str) else ()):
            if isinstance(word, str) and (word.startswith(STREAM_SCHEME) or (own and is_unknown(word))):
                yield f"spec.predictor.initContainers[{at}].args[{index}]", word


def containers(props: Props) -> Iterator[tuple[str, Props]]:
    """Each container in the resource, however deep its Pod's spec is, with its path."""
    for path, key, value in walk(props, ""):
        if key in {"containers", "initContainers", "ephemeralContainers"} and isinstance(value, Sequence):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield f"{path}[{index}]", item


def named_images(type_: str, props: Props) -> Iterator[tuple[str, str]]:
    """Path and text of each image that the resource runs or builds."""
    for path, container in containers(props):
        if isinstance(container.get("image"), str):
            yield f"{path}.image", container["image"]
    if type_ == "docker:index/image:Image" and isinstance(props.get("imageName"), str):
        yield "imageName", props["imageName"]
    if kind_of(type_) in _SERVING:
        for name in _COMPONENTS:
            override = mapping(mapping(mapping(props.get("spec")).get(name)).get("model")).get("image")
            if isinstance(override, str):
                yield f"spec.{name}.model.image", override
    server = mapping(props.get("spec")).get("image")
    if type_.startswith("kubernetes:kubeai.org/") and isinstance(server, str):
        yield "spec.image", server


def latest_in_values(props: Props) -> Iterator[str]:
    """The paths in a chart's values that name the tag `latest`; charts leave out what their own default says."""
    for path, key, value in walk(props.get("values"), "values"):
        if isinstance(value, str) and ((key == "tag" and value == "latest") or value.endswith(":latest")):
            yield path


def _serving_uris(spec: Props) -> Iterator[tuple[str, str]]:
    for name in _COMPONENTS:
        for path, key, value in walk(mapping(spec.get(name)), f"spec.{name}"):
            if not isinstance(value, str):
                continue
            is_environment = key == "value" and value.startswith(("oci://", "oci+"))
            if key in {"storageUri", "uri"} or is_environment:
                yield path, value


def _image_volumes(props: Props) -> Iterator[tuple[str, str]]:
    for path, key, value in walk(props, ""):
        if key == "volumes" and isinstance(value, Sequence):
            for index, volume in enumerate(value):
                reference = mapping(mapping(volume).get("image")).get("reference")
                if isinstance(reference, str):
                    yield f"{path}[{index}].image.reference", reference


def walk(value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """Every entry of every mapping in `value`: its path, its key and what it holds."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            yield inner, str(key), item
            yield from walk(item, inner)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from walk(item, f"{path}[{index}]")
