"""What the cluster would refuse of the stack's own models, by the policies that the stack gives it."""

from collections.abc import Iterator

from components.google import admission_policies
from components.serving import cel
from components.settings.checks.unread import Problem
from components.settings.models import StackModel
from components.settings.stack import Settings
from oci_model_serving.delivery import KSERVE
from oci_model_serving.reference import is_by_digest


def problems(settings: Settings) -> Iterator[Problem]:
    """What contradicts the list of what the cluster accepts; nothing where it is not enforced."""
    cluster = settings.cluster.settings
    if not cluster.allow_list.enforce or not settings.serves:
        return
    problem = admission_policies.problem(cluster.create.version) if cluster.create else None
    if problem:
        yield "cluster.create.version", problem
    if cluster.allow_list.remote_code:
        return
    for key, model in settings.models.items():
        for path in _with_remote_code(model):
            yield (
                f"models.{key}{path}",
                "asks for --trust-remote-code, with which the server runs code from the model's files, and the cluster "
                "refuses that: remove it, or write cluster.allowList: {remoteCode: true}",
            )


def warnings(settings: Settings) -> Iterator[Problem]:
    """A server's image by tag on Knative, which puts what it resolves the tag to into the pods ("Tag resolution")."""
    if not settings.cluster.settings.allow_list.enforce or settings.kserve.deployment_mode != "Knative":
        return
    for model in settings.models_of(KSERVE):
        if not is_by_digest(model.server_image):
            yield (
                f"models.{model.key}",
                f"is served by {model.server_image}, of which Knative makes a digest that the cluster does not accept: "
                "name the server's image by digest (`oms pin`), or list what the pods have in "
                "cluster.allowList.images",
            )


def _with_remote_code(model: StackModel) -> Iterator[str]:
    settings, server = model.settings, model.settings.server
    plain = {name: value for name, value in settings.env.items() if isinstance(value, str)}
    told = {
        ".args": (settings.args, {}),
        ".env": ((), plain),
        ".server.args": (server.args if server else (), {}),
        ".server.command": (server.command if server else (), {}),
    }
    for path, (words, variables) in told.items():
        if cel.asks_for_remote_code(words, variables):
            yield path
