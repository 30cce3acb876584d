"""ModelImage: the weights as one image, known by its digest from here on."""

import asyncio
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pulumi_command as command
import pulumi_docker as docker
import pulumi_gcp as gcp

import modelimage
from components import google_apis, outputs
from components.interpreter import python
from components.references import ImageReference
from components.schema import GB, Delivery, Model, kubernetes_name

PLATFORM = "linux/amd64"


@dataclass(frozen=True)
class ModelImageArgs:
    """What an image is made of.

    Attributes:
        key: the model's key.
        model: its settings: where the image comes from.
        registry_url: `host[:port]/path` that images are pushed below.
        base: base image of a build: `scratch`, `oci:FOLDER` or a reference by digest.
        layout: folder for an OCI image layout, instead of a push (local target without a registry).
        google_project: project of a Cloud Build.
        google_region: region of a Cloud Build.
        enable_apis: enable the API of Cloud Build where it is used.
    """

    key: str
    model: Model
    registry_url: pulumi.Input[str]
    base: str
    layout: str | None = None
    google_project: str = ""
    google_region: str = ""
    enable_apis: bool = True


class ModelImage(pulumi.ComponentResource):
    """Builds, copies or checks one image and yields its reference by digest.

    Deliberately has no way to a tag: whoever needs the image takes `reference`. It deletes nothing: an image may be in
    use by other stacks, so images outlive `pulumi destroy` and the registry's cleanup policy decides.
    """

    reference: pulumi.Output[ImageReference]
    """The image by digest."""
    size_bytes: pulumi.Output[int]
    """What a node downloads, in bytes."""

    def __init__(self, name: str, args: ModelImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("oci-model-serving:index:ModelImage", name, None, opts)
        self._args = args
        self._repository = pulumi.Output.concat(args.registry_url, "/", kubernetes_name(args.key))
        model = args.model
        if model.source:
            built = self._docker(model.source) if model.builder == "docker" else self._packed(model.source)
            self.reference = pulumi.Output.all(self._repository, built).apply(
                lambda known: ImageReference(known[0], known[1]["digest"])
            )
            self.size_bytes = built.apply(lambda image: int(image["size_bytes"]))
        else:
            self._existing()
        self.register_outputs({"reference": self.reference.apply(str), "size_bytes": self.size_bytes})

    def _packed(self, source: str) -> pulumi.Output[dict[str, Any]]:
        """Pack the source with `modelimage`, here or in Cloud Build."""
        args = self._args
        destination = f"oci:{args.layout}" if args.layout else self._repository
        words: list[pulumi.Input[str]] = ["pack", source, destination, "--base", args.base]
        if args.model.builder == "cloudbuild":
            words[0] = "cloudbuild"
            words += ["--project", args.google_project, "--region", args.google_region]
        apis = ["cloudbuild"] if args.model.builder == "cloudbuild" and args.enable_apis else []
        enabled = google_apis.enabled(self, args.key, args.google_project, apis)
        return self._run("build", words, triggers=[modelimage.fingerprint(source), args.base], after=enabled)

    def _docker(self, source: str) -> pulumi.Output[dict[str, Any]]:
        """Build with the Docker daemon, on a context of hard links that only `pulumi up` prepares."""
        args = self._args
        folder = Path(".local", "contexts", kubernetes_name(args.key))
        fingerprint = modelimage.fingerprint(source)
        words = ["context", source, folder.as_posix(), "--base", args.base]
        prepared = self._run("context", words, triggers=[fingerprint, args.base])
        context: pulumi.Output[str] = prepared["context"].apply(lambda path: _present(path, words, args.key))
        image = docker.Image(
            args.key,
            # The tag only carries the push: it is new for each content, since the repository's tags are immutable.
            image_name=pulumi.Output.concat(
                self._repository, ":", prepared["fingerprint"].apply(lambda text: _push_tag(text, args.base))
            ),
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

    def _push_tag(self, fingerprint: str) -> str:
        return hashlib.sha256(f"{fingerprint} {self._args.base}".encode()).hexdigest()[:16]

    def _existing(self) -> None:
        """Take an image by digest, from the settings or another stack, and see that it exists."""
        args, model = self._args, self._args.model
        if model.from_stack:
            stack = pulumi.StackReference(
                f"{args.key}-from", stack_name=model.from_stack, opts=pulumi.ResourceOptions(parent=self)
            )
            read = outputs.read_image(stack, model.model or args.key)
            source, size = read.apply(lambda image: image[0]), read.apply(lambda image: image[1])
        else:
            source = pulumi.Output.from_input(ImageReference.parse(model.digest or ""))
            size = None
        text = source.apply(str)
        if model.copy_image:
            words: list[pulumi.Input[str]] = ["copy", text, self._repository]
            self.reference = pulumi.Output.all(self._repository, source).apply(
                lambda known: ImageReference(known[0], known[1].digest)
            )
        else:
            words = ["inspect", text]
            if model.delivery is Delivery.KUBEAI:
                words.append("--require-digest-tag")
            self.reference = source
        checked = self._run("copy" if model.copy_image else "check", words, triggers=[text])
        if size is not None:
            self.size_bytes = size
        elif model.size_gb is not None:
            self.size_bytes = pulumi.Output.from_input(int(model.size_gb * GB))
        else:
            self.size_bytes = checked.apply(lambda image: int(image["size_bytes"]))

    def _run(
        self,
        step: str,
        words: Sequence[pulumi.Input[str]],
        *,
        triggers: Sequence[pulumi.Input[str]],
        after: Sequence[pulumi.Resource] = (),
    ) -> pulumi.Output[dict[str, Any]]:
        """Run `python -m modelimage`; credentials are the ones of the environment, never in the arguments."""
        line = pulumi.Output.all(*words).apply(lambda said: shlex.join(_command(said)))
        run = command.local.Command(
            f"{self._args.key}-{step}",
            create=line,
            triggers=list(triggers),
            logging=command.local.Logging.STDERR,
            # Progress and the JSON of the last run would otherwise reach the next one's environment.
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
        )
        return run.stdout.apply(json.loads)


def _push_tag(fingerprint: str, base: str) -> str:
    """Name what the image is made of: in a repository of immutable tags, other content needs another tag."""
    return hashlib.sha256(f"{fingerprint} {base}".encode()).hexdigest()[:16]


def _command(words: Sequence[object]) -> list[str]:
    return [python(), "-m", "modelimage", *map(str, words), "--json"]


def _present(path: str, words: Sequence[str], key: str) -> pulumi.Input[str]:
    """The context's folder, made again where the state knows it but this machine does not.

    The Docker provider hashes the folder in every preview and update, and fails when it is not there.
    """
    if Path(path, "Dockerfile").is_file():
        return path
    if not pulumi.runtime.is_dry_run():
        return _prepare(path, words, key)
    pulumi.log.warn(
        f"the Docker context of {key} is not on this machine, so this preview cannot tell whether the image changes; "
        "builder direct needs no context"
    )
    loop = asyncio.get_running_loop()
    nothing, unknown = loop.create_future(), loop.create_future()
    nothing.set_result("")
    unknown.set_result(False)
    return pulumi.Output(set(), nothing, unknown)


async def _prepare(path: str, words: Sequence[str], key: str) -> str:
    process = await asyncio.create_subprocess_exec(*_command(words), stdout=asyncio.subprocess.DEVNULL)
    if await process.wait() != 0:
        raise pulumi.RunError(f"the Docker context of {key} could not be prepared: see the messages above")
    return path


def _push_credentials(repository: pulumi.Output[str]) -> pulumi.Output[docker.RegistryArgs] | None:
    """Short-lived credentials for Artifact Registry; other registries use Docker's own configuration."""

    def credentials(name: str) -> Any:
        host = name.partition("/")[0]
        if not host.endswith("pkg.dev"):
            return docker.RegistryArgs(server=host)
        token = gcp.organizations.get_client_config_output().access_token
        return docker.RegistryArgs(server=host, username="oauth2accesstoken", password=pulumi.Output.secret(token))

    return repository.apply(credentials)
