"""ModelImage: the weights as one image, known by its digest from here on."""

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pulumi
from pydantic import SecretStr

import modelimage
from components import commands, packing
from components.google import google_apis
from components.google import sdk as gcp
from components.settings.models import StackImage
from components.settings.types import GB
from modelimage.traits import Traits
from oci_model_serving import outputs
from oci_model_serving.reference import ImageReference, is_google

PLATFORM = "linux/amd64"
_HUB_TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable, huggingface_hub's


class ModelImage(pulumi.ComponentResource):
    """Builds, copies or checks one image and yields its reference by digest.

    Deliberately has no way to a tag: whoever needs the image takes `reference`. It deletes nothing in a registry: an
    image may be in use by other stacks, so images outlive `pulumi destroy` and the registry's cleanup policy decides.
    A layout or a context on this machine goes with its model.
    """

    reference: pulumi.Output[ImageReference]
    """The image by digest."""
    size_bytes: pulumi.Output[int]
    """What a node downloads, in bytes."""
    traits: pulumi.Output[Traits]
    """What its files say to a server; in a plan, before it is built, what they are taken to say."""

    def __init__(
        self, name: str, model: StackImage, registry_url: pulumi.Input[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Make it, below `registry_url` (`host[:port]/path`) where it is built or copied."""
        super().__init__("oci-model-serving:index:ModelImage", name, None, opts)
        self._model = model
        self._repository = pulumi.Output.concat(registry_url, "/", model.name)
        source = model.settings.source
        if source:
            built = self._docker(source) if model.settings.builder == "docker" else self._packed(source)
            self.reference = pulumi.Output.all(self._repository, built).apply(
                lambda known: ImageReference(known[0], known[1]["digest"])
            )
            self.size_bytes = built.apply(lambda image: int(image["size_bytes"]))
            if model.by_digest_tag and not model.layout:
                # What version 0.1.0 has built has the tag's former name alone, and is not built again.
                self._run("tag", ["tag", self.reference.apply(str)], triggers=[self.reference.apply(str)])
        else:
            built = self._existing()
        self.traits = _or_presumed(built.apply(_traits), model.traits)
        self.register_outputs({"reference": self.reference.apply(str), "size_bytes": self.size_bytes})

    def _packed(self, source: str) -> pulumi.Output[dict[str, Any]]:
        """Pack the source with `modelimage`, here or in Cloud Build."""
        model, registry = self._model, self._model.registry
        destination = f"oci:{model.layout}" if model.layout else self._repository
        if model.layout:
            self._goes("layout", model.layout)
        words: list[pulumi.Input[str]] = ["pack", source, destination, "--base", model.base, *packing.files(model)]
        apis = []
        if model.settings.builder == "cloudbuild":
            words = ["cloudbuild", *words[1:], *packing.cloud_build(model)]
            apis = ["cloudbuild"] if registry.enable_apis else []
        enabled = google_apis.enabled(self, model.key, registry.project, apis)
        triggers = [modelimage.fingerprint(source), model.base, *packing.files(model)]
        return self._run("build", words, triggers=triggers, after=enabled, token=model.token)

    def _docker(self, source: str) -> pulumi.Output[dict[str, Any]]:
        """Build with the Docker daemon, on a context of hard links that only `pulumi up` prepares."""
        import pulumi_docker as docker  # noqa: PLC0415 - only this builder needs it

        model = self._model
        made_of = [model.base, *packing.files(model)]
        words = ["context", source, model.context, "--base", *made_of]
        triggers = [modelimage.fingerprint(source), *made_of]
        prepared = self._run("context", words, triggers=triggers, token=model.token)
        self._goes("context", model.context)
        context: pulumi.Output[str] = prepared["context"].apply(lambda path: _present(path, words, model))
        # The tag only carries the push: it is new for each content, since the repository's tags are immutable.
        tag = prepared["fingerprint"].apply(lambda text: _push_tag(text, *made_of))
        image = docker.Image(
            model.key,
            image_name=pulumi.Output.concat(self._repository, ":", tag),
            build=docker.DockerBuildArgs(
                context=context,
                dockerfile=context.apply(lambda path: f"{path}/Dockerfile"),
                platform=PLATFORM,
                builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
            ),
            registry=_push_credentials(self._repository),
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Before 5.1.0 this could be another image's digest, and without a push it is a local id: parsed, not believed.
        digest = image.repo_digest.apply(lambda text: str(ImageReference.parse(text)))
        return self._run("seal", ["tag", digest], triggers=[digest])

    def _existing(self) -> pulumi.Output[dict[str, Any]]:
        """Take an image by digest, from the settings or another stack; see that it exists and is for its delivery."""
        key, model = self._model.key, self._model.settings
        if model.from_stack:
            stack = pulumi.StackReference(
                f"{key}-from", stack_name=model.from_stack, opts=pulumi.ResourceOptions(parent=self)
            )
            read = outputs.read_image(stack, *self._model.promoted)
            source, size = read.apply(lambda image: image[0]), read.apply(lambda image: image[1])
        else:
            source = pulumi.Output.from_input(ImageReference.parse(model.digest or ""))
            size = None
        text = source.apply(str)
        if model.copy_image:
            words: list[pulumi.Input[str]] = ["copy", text, self._repository, "--for", self._model.meant_for]
            self.reference = pulumi.Output.all(self._repository, source).apply(
                lambda known: ImageReference(known[0], known[1].digest)
            )
        else:
            words = ["inspect", text, "--for", self._model.meant_for]
            if self._model.by_digest_tag:
                words.append("--require-digest-tag")
            self.reference = source
        checked = self._run("copy" if model.copy_image else "check", words, triggers=[text])
        if size is not None:
            self.size_bytes = size
        elif model.size_gb is not None:
            self.size_bytes = pulumi.Output.from_input(int(model.size_gb * GB))
        else:
            self.size_bytes = checked.apply(lambda image: int(image["size_bytes"]))
        return checked

    def _goes(self, kind: str, folder: str) -> None:
        """Let a folder go with the model.

        The resource is named as the folder is, not by the key: a key that changes to another of the same Kubernetes
        name keeps both, and what another model has built there is never taken from it.
        """
        commands.removal(f"{self._model.name}-{kind}-folder", folder, pulumi.ResourceOptions(parent=self))

    def _run(
        self,
        step: str,
        words: Sequence[pulumi.Input[str]],
        *,
        triggers: Sequence[pulumi.Input[str]],
        after: Sequence[pulumi.Resource] = (),
        token: SecretStr | None = None,
    ) -> pulumi.Output[dict[str, Any]]:
        """Run the packer; credentials are the ones of the environment, never in the arguments.

        Another token is an update of the command, which runs it again (pulumi-command, `update`).
        """
        run = commands.local(
            f"{self._model.key}-{step}",
            commands.IMAGE,
            [*words, "--json"],
            triggers=triggers,
            environment={_HUB_TOKEN: pulumi.Output.secret(token.get_secret_value())} if token else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        return run.stdout.apply(json.loads)


def _traits(image: Mapping[str, Any]) -> Traits:
    """What the packer says of an image's files; one of an earlier version said nothing."""
    known = {part.name: image[part.name] for part in fields(Traits) if part.name in image}
    return Traits(**known)


def _or_presumed(real: pulumi.Output[Traits], presumed: Traits | None) -> pulumi.Output[Traits]:
    """The traits of an image; in a plan that cannot know them yet, those that are presumed, if any.

    Without them a plan would show nothing of what a server is started with, for the sake of the few images that need
    more than their folder to be named.
    """
    if presumed is None or not pulumi.runtime.is_dry_run():
        return real

    async def traits() -> Traits:
        return await real.future() or presumed

    async def resources() -> set[pulumi.Resource]:
        return await real.resources() if await real.is_known() else set()

    async def known() -> bool:
        return True

    return pulumi.Output(
        asyncio.ensure_future(resources()), asyncio.ensure_future(traits()), asyncio.ensure_future(known())
    )


def _push_tag(*parts: str) -> str:
    """Name what the image is made of: in a repository of immutable tags, other content needs another tag."""
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _present(path: str, words: Sequence[str], model: StackImage) -> pulumi.Input[str]:
    """The context's folder, made again where the state knows it but this machine does not.

    The Docker provider hashes the folder in every preview and update, and fails when it is not there.
    """
    if Path(path, "Dockerfile").is_file():
        return path
    if not pulumi.runtime.is_dry_run():
        return _prepare(path, words, model)
    pulumi.log.warn(
        f"the Docker context of {model.key} is not on this machine, so this preview cannot tell whether the image "
        "changes; builder direct needs no context"
    )
    loop = asyncio.get_running_loop()
    nothing, unknown = loop.create_future(), loop.create_future()
    nothing.set_result("")
    unknown.set_result(False)
    return pulumi.Output(set(), nothing, unknown)


async def _prepare(path: str, words: Sequence[str], model: StackImage) -> str:
    token = {_HUB_TOKEN: model.token.get_secret_value()} if model.token else {}
    process = await asyncio.create_subprocess_exec(
        *commands.words(commands.IMAGE, *words, "--json"),
        stdout=asyncio.subprocess.DEVNULL,
        env={**os.environ, **token},
    )
    if await process.wait() != 0:
        raise pulumi.RunError(f"the Docker context of {model.key} could not be prepared: its reason is above")
    return path


def _push_credentials(repository: pulumi.Output[str]) -> pulumi.Output[Any]:
    """Short-lived credentials for Google's registries; other registries use Docker's own configuration."""

    def credentials(name: str) -> Any:
        host = name.partition("/")[0]
        if not is_google(host):
            return {"server": host}
        token = gcp.organizations.get_client_config_output().access_token
        return {"server": host, "username": "oauth2accesstoken", "password": pulumi.Output.secret(token)}

    return repository.apply(credentials)
