"""What the packer is told of an image, as its command's options: none for what is its default. Pure.

An option is part of users' states: a new one for what is packed already would pack it again.
"""

from collections.abc import Mapping

from components.settings.building import ClusterBuildSettings
from components.settings.images import StackAdapter, StackImage
from modelimage.machines import PLATFORM


def files(image: StackImage) -> list[str]:
    """The choice of files, their form and what they are."""
    chosen = image.settings.files
    options = [word for glob in chosen.allow for word in ("--allow", glob)]
    options += [word for glob in chosen.ignore for word in ("--ignore", glob)]
    size = chosen.shard_gb if isinstance(chosen.shard_gb, str) else f"{chosen.shard_gb:g}"
    given = {"--shard-gb": size, "--convert": chosen.convert, "--pickle": chosen.pickle}
    usual = {"auto", None, "refuse"}
    options += [word for name, value in given.items() if value not in usual for word in (name, str(value))]
    # An adapter alone would be no model.
    return [*options, "--adapter"] if isinstance(image, StackAdapter) else options


def form(image: StackImage) -> list[str]:
    """What form the image gets: what it runs on, and what is written beside it."""
    return [*platform(image), *(["--modelpack"] if image.settings.modelpack else [])]


def platform(image: StackImage) -> list[str]:
    """What the image runs on."""
    return [] if image.runs_on == PLATFORM else ["--platform", image.runs_on]


def pace(image: StackImage) -> list[str]:
    """How many layers this machine has under way at once: nothing that an image depends on, so no trigger.

    It is part of the command all the same, which the provider runs again when its text changes (pulumi-command,
    `create`): that sends no layer that is there. In the environment it would be no better: what the provider is told to
    ignore there keeps its first value for good.
    """
    jobs = image.registry.settings.jobs
    return [] if jobs is None else ["--jobs", str(jobs)]


VERBS = {"direct": "pack", "cloudbuild": "cloudbuild", "cluster": "clusterbuild"}
"""What packs, by the builder."""
_POD_OPTIONS = {
    "--namespace": "namespace",
    "--pods": "pods",
    "--shares": "shares",
    "--step-image": "image",
    "--service-account": "service_account",
    "--hub-token-secret": "hub_token_secret",
    "--registry-secret": "registry_secret",
    "--cpu": "cpu",
    "--memory": "memory",
    "--timeout": "timeout",
}
"""Options of `oms image clusterbuild`, and the settings that they are; those that may be given several times aside."""


def place(image: StackImage, context: str | None = None) -> list[str]:
    """Where and how it is packed; `context` is of the cluster's kubeconfig.

    As with `pace`, another place is no trigger, but runs the command again.
    """
    builder = image.settings.builder
    if builder == "cloudbuild":
        return _cloud_build(image)
    return _cluster_build(image.cluster_build, context) if builder == "cluster" else pace(image)


def _cloud_build(image: StackImage) -> list[str]:
    place, registry, token = image.cloud_build, image.registry, image.hub_token
    options = ["--project", registry.project, "--region", place.region or registry.region]
    given = {
        "--service-account": place.service_account,
        "--machine-type": place.machine_type,
        "--disk-gb": place.disk_gb,
        "--timeout": place.timeout if "timeout" in place.model_fields_set else None,
        "--step-image": place.step_image,
        # The name of a version in Secret Manager: checks refuse a token here.
        "--hf-token-secret": token and token.get_secret_value(),
    }
    return options + _told(given)


def _cluster_build(place: ClusterBuildSettings, context: str | None) -> list[str]:
    usual = ClusterBuildSettings()
    given = {option: getattr(place, name) for option, name in _POD_OPTIONS.items()}
    changed = {option: value for option, value in given.items() if value != getattr(usual, _POD_OPTIONS[option])}
    options = _told({"--context": context, **changed})
    options += [
        word for key, value in sorted(place.node_selector.items()) for word in ("--node-selector", f"{key}={value}")
    ]
    options += [word for text in place.tolerations for word in ("--toleration", text)]
    return options + [word for name, value in sorted(place.env.items()) for word in ("--env", f"{name}={value}")]


def _told(given: Mapping[str, object]) -> list[str]:
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]
