"""Rules on what runs where the stack is deployed from, and what charts bring: commands, builds, providers, releases."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policy.allowed import CHARTS, PROVIDERS
from policy.images import Props, is_by_digest, is_on, is_unknown, mapping, walk
from policy.pods import is_secret

RELEASE = "kubernetes:helm.sh/v3:Release"
_MODULES = frozenset({"modelimage", "watch.rollout", "watch.admitted", "offline", "smoke.rollout"})
_PYTHON = re.compile(r"(?:[\w.+@~-]*/)*python(?:3(?:\.\d+)?)?")
_ELSEWHERE = ("/tmp/", "/var/tmp/", "/dev/shm/")  # noqa: S108 - refused
_UNKNOWN = re.compile(r"known after [\w .,:/@+=-]+")
_COMMAND_KEYS = frozenset({
    "__defaults", "addPreviousOutputInEnv", "create", "delete", "environment", "logging", "stdin", "triggers", "update",
})  # fmt: skip
_BUILD_KEYS = frozenset({"__defaults", "args", "builderVersion", "context", "dockerfile", "platform", "target"})
_FOLDER = r"\.local(?:/(?!\.\.?(?:/|\s|$))[\w.@+-]+)+"
_REMOVAL = re.compile(rf"rm -rf -- {_FOLDER} && \{{ rmdir -- \.local(?:/[\w.@+-]+)* 2>/dev/null \|\| true; \}}")
_VARIABLES = re.compile(r"(?:HF|OMS|SMOKE|COSIGN|SIGSTORE|MODELIMAGE|REGISTRY)_[A-Z0-9_]+")
_RUNS = ("create", "update", "delete")
_MIRROR = re.compile(r"(?:oci|https)://(?:[a-z0-9-]+-)?docker\.pkg\.dev/[\w./-]+")
_POSTRENDER = "components/serving/keep_crds.py"
_RELEASE_KEYS = frozenset({
    "__defaults", "atomic", "chart", "cleanupOnFail", "compat", "createNamespace", "dependencyUpdate", "description",
    "keyring", "lint", "manifest", "maxHistory", "name", "namespace", "postrender", "recreatePods", "repositoryOpts",
    "resourceNames", "skipAwait", "skipCrds", "timeout", "values", "verify", "version", "waitForJobs",
})  # fmt: skip
_RAW = re.compile(
    r"(?:extra|raw|additional)(?:Objects|Manifests?|Deploy|Resources|Templates|Yaml)|rawManifests?", re.IGNORECASE
)
_RIGHTS = frozenset({"hostNetwork", "hostPID", "hostIPC", "privileged", "allowPrivilegeEscalation"})
_PATCHED_RIGHTS = re.compile(r"host(?:Network|PID|IPC|Path)|privileged|allowPrivilegeEscalation|capabilities/add")


def only_our_commands(type_: str, _name: str, props: Props) -> Iterator[str]:
    """The machine that deploys runs the project's own commands, without a shell's help."""
    if type_ != "command:local:Command":
        return
    for key in _RUNS:
        line = props.get(key)
        if line is None or (isinstance(line, str) and _UNKNOWN.fullmatch(line)):
            continue  # nothing of a shell's is in what the program writes there
        if not (isinstance(line, str) and (_is_ours(line) or (key == "delete" and _is_removal(line)))):
            yield f"{key} runs {line!r}: write a command of the project (components/commands.py), or leave it out"
    for key in sorted(set(props) - _COMMAND_KEYS):
        if props[key]:
            yield f"{key} changes what is run, or takes files along: leave it out"
    for name in mapping(props.get("environment")):
        if not _VARIABLES.fullmatch(str(name)):
            yield f"environment has {name}, which is none of the project's: leave it out"


def _is_ours(line: str) -> bool:
    try:
        words = shlex.split(line)
    except ValueError:
        return False
    # What is quoted again as it was has no operator, no substitution and no second command in it.
    whole = shlex.join(words) == line
    if not whole or len(words) < 3 or any(is_secret("", word.rpartition("=")[2]) for word in words):
        return False
    own = bool(_PYTHON.fullmatch(words[0])) and ".." not in words[0] and not words[0].startswith(_ELSEWHERE)
    return own and words[1] == "-m" and words[2] in _MODULES


def _is_removal(line: str) -> bool:
    return bool(_REMOVAL.fullmatch(line)) and ".." not in line


def only_plain_builds(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A build takes files of the project, has no secret among its arguments and pushes to where it says."""
    if type_ != "docker:index/image:Image":
        return
    build = mapping(props.get("build"))
    for key in ("context", "dockerfile"):
        where = build.get(key)
        if (
            isinstance(where, str)
            and not is_unknown(where)
            and (where.startswith(("/", "~", "git@")) or "://" in where or ".." in where)
        ):
            yield f"build.{key} is {where!r}, outside of the project: name a folder of it"
    for key in sorted(set(build) - _BUILD_KEYS):
        if build[key]:
            yield f"build.{key} leads the build elsewhere: leave it out"
    if props.get("buildOnPreview") is True:
        yield "buildOnPreview builds what nobody has approved: set it to false"
    for name in mapping(build.get("args")):
        if re.search(r"TOKEN|PASSWORD|SECRET|KEY|CREDENTIAL", str(name), re.IGNORECASE):
            yield f"build.args has {name}, which stays in the image's history: leave it out"
    image = props.get("imageName")
    if isinstance(image, str) and "@" in image:
        yield f"imageName is {image!r}, and nothing can be pushed to a digest: write host/path:tag"
    server = mapping(props.get("registry")).get("server")
    if isinstance(server, str) and isinstance(image, str) and not is_unknown(image) and not is_unknown(server):
        host = server.split("://")[-1].partition("/")[0]
        if image.partition("/")[0] != host:
            yield f"it pushes to {server}, and imageName is of {image.partition('/')[0]}: name one registry"


def only_safe_providers(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Providers check whom they talk to, and forget nothing."""
    if not type_.startswith("pulumi:providers:"):
        return
    if type_.rpartition(":")[2] not in PROVIDERS:
        return  # no type of this project at all
    config = props.get("kubeconfig")
    if isinstance(config, str) and re.search(r"insecure-skip-tls-verify\"?\s*:\s*\"?true", config):
        yield "kubeconfig believes any server (insecure-skip-tls-verify): leave it out"
    if '"private_key"' in str(props.get("credentials")):
        yield "credentials hold the key of an account: use Workload Identity, or a person's own"
    for key in ("deleteUnreachable", "skipTlsVerify", "insecure"):
        if str(props.get(key)).lower() == "true":
            yield f"{key} is true: leave it out"
    if str(props.get("host", "")).startswith(("tcp://", "http://")):
        yield f"host is {props.get('host')}, a daemon without TLS: leave it out"


def only_known_charts(type_: str, _name: str, props: Props) -> Iterator[str]:
    """Charts come from who makes them, at a version, and run nothing on the way."""
    if type_ != RELEASE:
        return
    chart, repository = props.get("chart"), mapping(props.get("repositoryOpts")).get("repo")
    if isinstance(chart, str) and not is_unknown(chart):
        yield from _source(chart, repository if isinstance(repository, str) else "", props.get("version"))
    for key in sorted(set(props) - _RELEASE_KEYS):
        if not props[key]:
            continue  # the provider writes out what is off
        yield f"{key} is nothing that the project's releases use: leave it out"
    if props.get("postrender") and props["postrender"] != _POSTRENDER:
        yield f"postrender runs {props.get('postrender')!r} on the machine that deploys: leave it out"
    given = mapping(props.get("repositoryOpts"))
    extra = sorted(key for key in given if key not in {"repo", "__defaults"} and given[key])
    if extra:
        yield f"repositoryOpts has {', '.join(extra)}: leave it out"


def _source(chart: str, repository: str, version: Any) -> Iterator[str]:
    place, _, name = chart.rstrip("/").rpartition("/")
    where = place if "://" in place else repository.rstrip("/") or place
    allowed = CHARTS.get(re.sub(r"-v?\d[\w.+-]*\.tgz$", "", name))
    if allowed is None:
        yield f"chart {name} is none that the project installs: name one of {', '.join(sorted(CHARTS))}"
    elif where in allowed or _MIRROR.fullmatch(where):
        if not (isinstance(version, str) and re.fullmatch(r"v?\d+\.\d+\.\d+[\w.+-]*", version)) and not is_unknown(
            version
        ):
            yield f"version of {name} is {version!r}: name one, as v1.2.3"
    elif "://" in where or where.startswith(("~", "/", "..")) or not where:
        yield (
            f"chart {name} is from {where or 'wherever'}: use {' or '.join(allowed)}, a mirror on Artifact "
            "Registry, or add yours to policy/allowed.py"
        )


def narrow_values(type_: str, _name: str, props: Props) -> Iterator[str]:
    """A chart's values give its pods no rights on nodes, bring no objects of their own, and name images by digest."""
    if type_ != RELEASE:
        return
    values = props.get("values")
    for path, key, value in walk(values, "values"):
        if isinstance(value, str) and value and value != "[secret]" and is_secret(key, value):
            yield f"{path} is a secret in plain: name a Secret that holds it"
        if key in _RIGHTS and is_on(value):
            yield f"{path} is true: leave it out"
        elif key == "hostPath" and value:
            yield f"{path} is a folder of the node: leave it out"
        elif key == "add" and path.endswith("capabilities.add") and value:
            yield f"{path} is {value}: leave it out"
        elif key in {"runAsUser", "runAsGroup", "uidModelcar"} and str(value) == "0":
            yield f"{path} is root: leave it out"
        elif _RAW.fullmatch(key) and value:
            yield f"{path} brings objects that no rule sees: write each as a resource of its own"
        elif key == "path" and isinstance(value, str) and _PATCHED_RIGHTS.search(value):
            yield f"{path} is {value}: leave it out"
        elif key == "type" and value == "Unconfined":
            yield f"{path} is {value}: write RuntimeDefault"
    yield from _images(values, "values")


def _images(value: Any, path: str) -> Iterator[str]:
    """Images that a chart's values name; what a chart says by itself is the chart's."""
    if isinstance(value, Mapping):
        pinned = any(
            isinstance(value.get(key), str) and re.search(r"sha256:[0-9a-f]{64}$", value[key])
            for key in ("tag", "digest")
        )
        for key, item in value.items():
            named = key in {"image", "repository"} and isinstance(item, str) and "/" in item and "://" not in item
            if named and not pinned and not is_by_digest(item) and not is_unknown(item):
                yield f"{path}.{key} is {item!r}, which can move: name its digest"
            yield from _images(item, f"{path}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for index, item in enumerate(value):
            yield from _images(item, f"{path}[{index}]")
