"""`oms render`: a stack's Kubernetes manifests with the digests that are deployed, for kubectl, Argo CD and Flux."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oci_model_serving.errors import InputError
from oms.convention import json_option, print_json, stack_option, tell

if TYPE_CHECKING:
    from components.settings.stack_file import Project
    from oci_model_serving.outputs import ModelOutput, StackOutputs
    from offline.plan import Plan

_STDIN = Path("/dev/stdin")


@click.command()
@stack_option
@click.option(
    "--outputs",
    multiple=True,
    metavar="FILE|-|STACK=FILE",
    help="The stack's own outputs, `pulumi stack output --json` (-: from stdin), or those of a stack that it promotes "
    "from; default: asks the engine for its own.",
)
@click.option(
    "--digest",
    "digests",
    multiple=True,
    metavar="MODEL=IMAGE",
    help="A model's image, HOST/REPO@sha256:…, which is looked up in its registry.",
)
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Write files; default: YAML on stdout.")
@click.option(
    "--for",
    "tool",
    type=click.Choice(["argocd", "flux"]),
    help="Write what this tool reads the files and installs the charts by, too.",
)
@click.option("--repo", metavar="URL", help="With --for: the git repository that the files will be in.")
@click.option("--path", default="", metavar="FOLDER", help="With --for: their folder in it; default: its root.")
@click.option(
    "--revision", default="main", show_default=True, metavar="REF", help="With --for: branch, commit or refs/tags/…."
)
@json_option
def render(
    *,
    stack: str,
    outputs: Sequence[str],
    digests: Sequence[str],
    output: Path | None,
    tool: str | None,
    repo: str | None,
    path: str,
    revision: str,
    as_json: bool,
) -> None:
    """Write a stack's Kubernetes manifests, complete, for kubectl, Argo CD or Flux.

    The same settings and outputs give the same bytes. No secret is in them: what has to be filled is in secrets/.

    \b
    pulumi stack output --json --stack prod | oms render --stack prod --outputs - --output manifests
    oms render --stack prod --outputs acme/oci-model-serving/dev=dev.json --output manifests
    oms render --stack prod --digest MODEL=HOST/REPO@sha256:… | kubectl apply -f -
    """
    from components.settings.stack_file import find_project
    from offline import gitops, manifests
    from oms.plan import tell_messages

    _check_options(tool, repo, path, output, as_json=as_json)
    output = output.resolve() if output else None
    project = find_project(Path.cwd())
    plan = _planned(project, stack, outputs, _pairs("--digest", "MODEL=IMAGE", digests))
    tell_messages(plan)
    if unknown := manifests.incomplete(plan):
        raise InputError(
            *(f"{one}: give the outputs of the stack (--outputs), which have it" for one in unknown[:20]),
            *([f"and {len(unknown) - 20} more"] if len(unknown) > 20 else []),
        )
    if tool:
        files = gitops.rendered(plan, tool, gitops.GitFolder(repo or "", path, revision))
    else:
        files = manifests.render(plan)
    secrets = [name for name in files if name.startswith(f"{manifests.SECRETS}/")]
    if output is None:
        objects = [text for name, text in files.items() if name.startswith(f"{manifests.OBJECTS}/")]
        click.echo("---\n".join(objects), nl=False)
    else:
        manifests.write_files(files, output, option="--output")
        tell(f"wrote {len(files)} files to {output}")
    if secrets:
        there = f"{output}/{manifests.SECRETS}" if output else "what --output DIR writes into secrets/"
        tell(f"{len(secrets)} Secrets are yours to make, by External Secrets, Sealed Secrets or kubectl: {there}")
    if as_json:
        print_json({"stack": stack, "files": list(files), "secrets": secrets, "models": _models(plan)})


def _check_options(tool: str | None, repo: str | None, path: str, output: Path | None, *, as_json: bool) -> None:
    if tool and not (repo and output):
        raise InputError(f"--for {tool}: needs --output DIR and --repo URL: the tool reads the files from a repository")
    if not tool and (repo or path):
        raise InputError("--repo, --path: are for --for argocd and --for flux: add it, or leave them out")
    if path.startswith("/") or ".." in Path(path).parts:
        raise InputError(f"--path {path}: write a folder in the repository, as clusters/prod")
    if repo:
        _check_repository(repo)
    if as_json and not output:
        raise InputError("--json: needs --output DIR, since without it the manifests are on stdout")


def _check_repository(url: str) -> None:
    """See that the address of a git repository may stand in files of it.

    Raises:
        InputError: it is none, or it holds what only a Secret may.
    """
    from components.settings.plain_secrets import form_of

    if form_of(url):
        raise InputError(
            "--repo: holds a password or token, which would stand in plain in the repository: leave it out, and give "
            "it to the tool as a Secret (Argo CD: a repository Secret; Flux: secretRef)"
        )
    if not re.fullmatch(r"(https?|ssh)://[^\s/]+/\S+|[\w.-]+@[\w.-]+:\S+", url):
        raise InputError(f"--repo {url!r}: write https://HOST/PATH or ssh://git@HOST/PATH")


def _models(plan: "Plan") -> dict[str, str]:
    from offline.values import plain

    models: Any = plain(plan.recording.outputs).get("models") or {}
    return {key: model["image"] for key, model in models.items()}


def _pairs(option: str, form: str, given: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not (key and equals and value):
            raise InputError(f"{option} {item!r}: write {form}")
        pairs[key] = value
    return pairs


def _planned(project: "Project", stack: str, outputs: Sequence[str], digests: Mapping[str, str]) -> "Plan":
    """The plan with every image known.

    Raises:
        InputError: outputs or an image are wrong, or another than the stack serves.
    """
    from components.settings.stack_file import read_config
    from offline.deployed import plan_of_deployed

    models = read_config(project, stack).models
    if strange := sorted(digests.keys() - models.keys()):
        raise InputError(f"--digest {strange[0]}=…: stack {stack!r} has no such model: it has {', '.join(models)}")
    own = [one for one in outputs if "=" not in one]
    others = _pairs("--outputs", "FILE, - or STACK=FILE", [one for one in outputs if "=" in one])
    if len(own) > 1:
        raise InputError(f"--outputs {own[1]}: the stack's own outputs are {own[0]}: give them once")
    stacks = {str(one["fromStack"]) for one in models.values() if one.get("fromStack")}
    if stray := sorted(others.keys() - {name for one in stacks for name in (one, one.rpartition("/")[2])}):
        takes = f"it promotes from {', '.join(sorted(stacks))}" if stacks else "it promotes from no other stack"
        raise InputError(f"--outputs {stray[0]}=…: stack {stack!r} takes nothing of that stack: {takes}")
    by_digest = {key: str(one["digest"]) for key, one in models.items() if one.get("digest")} | dict(digests)
    known = _own(stack, own, asks=not others and len(by_digest) < len(models))
    for key, settings in models.items():
        if key in digests or key not in known.models:
            found = _looked_up(key, by_digest[key], settings) if key in by_digest else _promoted(key, settings, others)
            if found:
                known.models[key] = found
    plan = plan_of_deployed(project, stack, known)
    served = _models(plan)
    for key, image in digests.items():
        _check_served(key, image, served[key], models[key])
    return plan


def _check_served(key: str, image: str, served: str, settings: Mapping[str, Any]) -> None:
    """See that the plan serves the image that was asked for.

    Raises:
        InputError: the settings name another one, or another registry.
    """
    if served == image:
        return
    if settings.get("digest"):
        raise InputError(
            f"--digest {key}={image}: the stack's file names {served}: write the digest there, into models.{key}.digest"
        )
    raise InputError(
        f"--digest {key}={image}: the stack serves it from its own registry, as {served}: copy it there by "
        f"`oms image copy {image} {served.partition('@')[0]}`, and give --digest {key}={served}"
    )


def _own(stack: str, files: Sequence[str], *, asks: bool) -> "StackOutputs":
    """The stack's own outputs, or none where all images are told otherwise."""
    from oci_model_serving.outputs import CONTRACT_VERSION, StackOutputs
    from oms.outputs import read_outputs

    if files or asks:
        return read_outputs(stack, (_STDIN if files[0] == "-" else Path(files[0])) if files else None)
    cluster = {"name": "", "location": "", "version": ""}
    return StackOutputs.model_validate({"contract_version": CONTRACT_VERSION, "registry_url": "", "cluster": cluster})


def _promoted(key: str, settings: Mapping[str, Any], others: Mapping[str, str]) -> "ModelOutput | None":
    """What the stack that a model is promoted from says of its image, where its outputs are given."""
    from oms.outputs import read_outputs

    there = str(settings.get("fromStack") or "")
    file = others.get(there) or others.get(there.rpartition("/")[2])
    if not file:
        return None
    models = read_outputs(there, Path(file)).models
    name = settings.get("model") or key
    if name not in models:
        raise InputError(f"--outputs {there}={file}: has no model {name!r}: it has {', '.join(models) or 'none'}")
    return models[name]


def _looked_up(key: str, image: str, settings: Mapping[str, Any]) -> "ModelOutput":
    """What its registry says of an image."""
    from modelimage.progress import reporting
    from modelimage.transfer import inspect
    from oci_model_serving.delivery import Delivery
    from oci_model_serving.outputs import ModelOutput, TraitsOutput
    from oci_model_serving.reference import ImageReference

    reference = ImageReference.parse(image)
    with reporting() as reporter:
        purpose = Delivery(settings.get("delivery") or Delivery.MODELCAR)
        found = inspect(str(reference), purpose=purpose, reporter=reporter).as_json()
    traits = {name: found[name] for name in TraitsOutput.model_fields if name in found}
    # What serving it adds to an image comes from the plan.
    unserved = {
        "delivery": "native",
        "platform": "kserve",
        "name": "image",
        "namespace": "",
        "url": "",
        "paused": False,
    }
    named = {"image": str(reference), "digest": reference.digest, "storage_uri": "", "served_name": key}
    return ModelOutput.model_validate({**unserved, **named, "size_bytes": found["size_bytes"], "traits": traits})
