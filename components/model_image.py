"""ModelImage: the weights as one image, known by its digest from here on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pulumi
from pydantic import SecretStr

from components import commands, docker_context, image_traits, packing, rebuilding, vouching
from components.google import google_apis
from components.google.cluster import Cluster
from components.settings.images import StackImage
from components.settings.places import LOCAL
from components.settings.types import GB
from modelimage.traits import Traits
from modelimage.variables import HUB_TOKEN
from oci_model_serving import outputs
from oci_model_serving.private import private_folder
from oci_model_serving.reference import ImageReference


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
    annotations: pulumi.Output[dict[str, str]]
    """Those of its manifest, where it exists already and is looked at; else none."""

    def __init__(
        self,
        name: str,
        model: StackImage,
        registry_url: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
        cluster: Cluster | None = None,
    ) -> None:
        """Make it, below `registry_url` (`host[:port]/path`) where it is built or copied; `cluster` may build it."""
        super().__init__("oci-model-serving:index:ModelImage", name, None, opts)
        self._model, self._cluster = model, cluster if model.settings.builder == "cluster" else None
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
            self.reference = self._verified(self._signed(self.reference))
        else:
            built = self._existing()
        self.traits = image_traits.or_presumed(built.apply(image_traits.said), model.traits)
        self.annotations = built.apply(lambda image: dict(image.get("annotations") or {}))
        self.register_outputs({"reference": self.reference.apply(str), "size_bytes": self.size_bytes})

    def _packed(self, source: str) -> pulumi.Output[dict[str, Any]]:
        """Pack the source with `modelimage`: here, in Cloud Build or in the cluster."""
        model, registry = self._model, self._model.registry
        destination = f"oci:{model.layout}" if model.layout else self._repository
        if model.layout:
            self._goes("layout", model.layout)
        builder, cluster = model.settings.builder, self._cluster
        made_of = ["--base", model.base, *packing.files(model), *packing.form(model)]
        place = packing.place(model, cluster.settings.settings.context if cluster else None)
        apis = ["cloudbuild"] if builder == "cloudbuild" and registry.enable_apis else []
        enabled = google_apis.enabled(self, model.key, registry.project, apis)
        return self._run(
            "build",
            [packing.VERBS[builder], source, pulumi.Output.from_input(destination), *made_of, *place],
            triggers=[rebuilding.fingerprint(source, f"{model.key}-build"), *made_of[1:]],
            after=[*enabled, *([cluster] if cluster else [])],
            token=model.token,
            secrets={commands.KUBECONFIG: cluster.kubeconfig} if cluster else {},
        )

    def _docker(self, source: str) -> pulumi.Output[dict[str, Any]]:
        """Build with the Docker daemon, on a context of hard links that only `pulumi up` prepares."""
        import pulumi_docker as docker  # noqa: PLC0415 - only this builder needs it

        model = self._model
        made_of = [model.base, *packing.files(model)]
        words = ["context", source, model.context, "--base", *made_of]
        triggers = [rebuilding.fingerprint(source, f"{model.key}-context"), *made_of]
        prepared = self._run("context", words, triggers=triggers, token=model.token)
        self._goes("context", model.context)
        context: pulumi.Output[str] = prepared["context"].apply(lambda path: docker_context.present(path, words, model))
        # The tag only carries the push: it is new for each content, since the repository's tags are immutable.
        tag = prepared["fingerprint"].apply(
            lambda text: docker_context.push_tag(text, *made_of, *packing.platform(model))
        )
        image = docker.Image(
            model.key,
            image_name=pulumi.Output.concat(self._repository, ":", tag),
            build=docker.DockerBuildArgs(
                context=context,
                dockerfile=context.apply(lambda path: f"{path}/Dockerfile"),
                platform=model.runs_on,
                builder_version=docker.BuilderVersion.BUILDER_BUILD_KIT,
            ),
            registry=docker_context.push_credentials(self._repository),
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
            source, size = read.apply(lambda image: self._allowed(image[0])), read.apply(lambda image: image[1])
        else:
            source = pulumi.Output.from_input(ImageReference.parse(model.digest or ""))
            size = None
        # Before it is copied: nothing comes into this stack's registry that nobody vouches for, and the digest stays.
        source = self._verified(source)
        text = source.apply(str)
        meant = ["--for", self._model.meant_for, *packing.platform(self._model)]
        if model.copy_image:
            words: list[pulumi.Input[str]] = ["copy", text, self._repository, *meant, *packing.pace(self._model)]
            self.reference = pulumi.Output.all(self._repository, source).apply(
                lambda known: ImageReference(known[0], known[1].digest)
            )
        else:
            words = ["inspect", text, *meant]
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

    def _signed(self, image: pulumi.Output[ImageReference]) -> pulumi.Output[ImageReference]:
        """An image that was built here, signed and attested where the stack signs."""
        sign = self._model.registry.settings.sign
        if sign is None:
            return image
        place, hand = image.apply(self._place), vouching.by(sign)
        facts = [*vouching.facts(self._model, sign), *hand]
        done = [
            self._run("sign", ["sign", place, *hand], triggers=[place, *hand]),
            self._run("attest", ["attest", place, *facts], triggers=[place, *facts]),
        ]
        return pulumi.Output.all(image, *done).apply(lambda known: known[0])

    def _verified(self, image: pulumi.Output[ImageReference]) -> pulumi.Output[ImageReference]:
        """An image once it is known to be signed as `registry.verify` asks; a plan shows it before that is asked."""
        verify = self._model.registry.settings.verify
        if verify is None:
            return image
        place, wanted = image.apply(self._place), vouching.wanted(verify)
        asked = self._run("verify", ["verify", place, *wanted], triggers=[place, *wanted])
        return image if pulumi.runtime.is_dry_run() else pulumi.Output.all(image, asked).apply(lambda known: known[0])

    def _place(self, image: ImageReference) -> str:
        """Where the packer finds an image: one in a layout has a name in the cluster only."""
        layout = self._model.layout if self._model.settings.source else None
        return f"oci:{layout}@{image.digest}" if layout else str(image)

    def _allowed(self, image: ImageReference) -> ImageReference:
        """The image of another stack, if it may come from where it is."""
        if refusal := self._model.registry.refusal(image):
            stack = self._model.settings.from_stack
            raise outputs.ContractError(f"models.{self._model.key}.fromStack: {stack} has another's: {refusal}")
        return image

    def _goes(self, kind: str, folder: str) -> None:
        """Let a folder go with the model.

        The resource is named as the folder is, not by the key: a key that changes to another of the same Kubernetes
        name keeps both, and what another model has built there is never taken from it.
        """
        if not pulumi.runtime.is_dry_run():
            private_folder(Path(LOCAL))
        commands.removal(f"{self._model.name}-{kind}-folder", folder, pulumi.ResourceOptions(parent=self))

    def _run(
        self,
        step: str,
        words: Sequence[pulumi.Input[str]],
        *,
        triggers: Sequence[pulumi.Input[str]],
        after: Sequence[pulumi.Resource] = (),
        token: SecretStr | None = None,
        secrets: Mapping[str, pulumi.Input[str]] = MappingProxyType({}),
    ) -> pulumi.Output[dict[str, Any]]:
        """Run the packer; credentials are the ones of the environment, never in the arguments.

        Another token is an update of the command, which runs it again (pulumi-command, `update`).
        """
        known = {**secrets, **({HUB_TOKEN: token.get_secret_value()} if token else {})}
        run = commands.local(
            f"{self._model.key}-{step}",
            commands.IMAGE,
            [*words, "--json"],
            triggers=triggers,
            environment={name: pulumi.Output.secret(value) for name, value in known.items()} or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        return run.stdout.apply(json.loads)
