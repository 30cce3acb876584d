"""What the cluster's own policies ask of the objects that serve models. Pure."""

from components.serving.cel import (
    JSON,
    MOUNTED,
    OFF,
    REMOTE_CODE_VARIABLE,
    SETTINGS,
    raw,
    source,
    validation,
    variable,
    verified,
    words,
)
from oci_model_serving.delivery import STREAM_SCHEME


def of_inference_services() -> JSON:
    """What KServe's objects are asked: their source, images and arguments."""
    return {
        "variables": [
            variable("predictor", "object.spec.predictor"),
            variable(
                "containers",
                "dyn(variables.predictor.?containers.orValue([])) "
                "+ dyn(variables.predictor.?initContainers.orValue([])) "
                "+ (has(variables.predictor.model) ? dyn([variables.predictor.model]) : dyn([]))",
            ),
            variable(
                "sources",
                "(has(variables.predictor.model) && has(variables.predictor.model.storageUri) "
                "? [variables.predictor.model.storageUri] : []) "
                "+ variables.predictor.?storageUris.orValue([]).map(one, one.?uri.orValue('')) "
                "+ (has(variables.predictor.model) && has(variables.predictor.model.storage) ? ['storage'] : [])",
            ),
            variable("unknown", f"variables.sources.filter(one, !({verified(source('one'))}))"),
            variable(
                "foreign",
                "(variables.containers.filter(one, has(one.image)).map(one, one.image) "
                f"+ variables.predictor.?volumes.orValue([]).filter(one, has(one.image)).map(one, {MOUNTED}))"
                ".filter(one, !(one in variables.images))",
            ),
            variable("words", words("variables.containers")),
            # What a sidecar streams is in its arguments, where the pods' own policy looks as well.
            variable(
                "streams",
                "variables.predictor.?initContainers.orValue([]).map(one, one.?args.orValue([])"
                f".filter(word, word.startsWith('{STREAM_SCHEME}')))",
            ),
        ],
        "validations": [
            _of_source("storageUri"),
            _own(),
            validation(
                f"variables.streams.all(words, words.all(word, {verified(source('word'))}))",
                f"a sidecar streams what the stack has not verified: change models.NAME.source or digest {SETTINGS}",
            ),
        ],
    }


def of_models() -> JSON:
    """What KubeAI's objects are asked: their source, image and arguments."""
    named = (
        f"has(object.spec.env) && object.spec.env.exists(name, name.matches({raw(REMOTE_CODE_VARIABLE)}) "
        f"&& !object.spec.env[name].matches({raw(OFF)}))"
    )
    return {
        "variables": [
            variable("sources", "[object.spec.url] + object.spec.?adapters.orValue([]).map(one, one.?url.orValue(''))"),
            variable("unknown", f"variables.sources.filter(one, !({verified(source('one'))}))"),
            variable(
                "foreign",
                "has(object.spec.image) && object.spec.image != '' && !(object.spec.image in variables.images) "
                "? [object.spec.image] : []",
            ),
            variable(
                "words",
                "[dyn(object.spec.?args.orValue([])) "
                "+ dyn(has(object.spec.env) ? object.spec.env.map(name, object.spec.env[name]) : []) "
                f"+ dyn({named} ? ['--trust-remote-code'] : [])]",
            ),
        ],
        "validations": [_of_source("url"), _own()],
    }


def _of_source(field: str) -> JSON:
    return validation(
        "variables.unknown.size() == 0",
        f"{field} does not name an image that the stack has verified, by its digest",
        f"'{field} ' + variables.unknown[0] + ' does not name an image that the stack has verified, by its digest: "
        f"change models.NAME.source or digest {SETTINGS}'",
    )


def _own() -> JSON:
    return validation(
        "variables.foreign.size() == 0",
        "an image is not one of the stack's",
        f"'image ' + variables.foreign[0] + ' is not one of the stack: change the image of the server {SETTINGS}'",
    )
