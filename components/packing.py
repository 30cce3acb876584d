"""What the packer is told of an image, as its command's options: none for what is its default. Pure.

An option is part of users' states: a new one for what is packed already would pack it again.
"""

from components.settings.models import StackAdapter, StackImage


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


def cloud_build(image: StackImage) -> list[str]:
    """Where and how Cloud Build packs."""
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
    return options + [word for name, value in given.items() if value is not None for word in (name, str(value))]
