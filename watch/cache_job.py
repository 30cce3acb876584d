"""The Job that makes a compile cache: a pod starts a model's server where it is served, and packs what that has left.

The server's container comes first, as an init container: the pod has its GPUs until the end, and what packs begins when
the server has gone. It is started as it is served, since what it compiles is found again by its arguments, variables
and paths.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from components.serving import adapters, compile_cache, predictor, vllm
from components.settings.models import StackModel
from modelimage.cache_key import CacheKey
from modelimage.traits import Traits
from oci_model_serving.delivery import IMAGE_ROOT
from oci_model_serving.reference import ImageReference
from watch.pack_job import CONTAINER, JSON, PackJob, Words

SERVER = "server"
_MADE = "/made"
_TMP = vllm.WRITABLE_MOUNT["mountPath"]

_UNTIL_READY = """\
import http.client, os, signal, subprocess, sys, time
port, patience, folder, *command = sys.argv[1:]
begun = time.monotonic()
server = subprocess.Popen(command)
signal.signal(signal.SIGTERM, lambda *_: server.terminate())
def ready():
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
while not ready():
    code = server.poll()
    if code is not None:
        sys.exit(f"error: the server ended with exit code {code} before it was ready")
    if time.monotonic() - begun > int(patience):
        server.kill()
        sys.exit(f"error: the server was not ready after {patience} s")
    time.sleep(1)
took = time.monotonic() - begun
server.terminate()
try:
    server.wait(60)
except subprocess.TimeoutExpired:
    server.kill()
    server.wait()
files = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
if not files:
    sys.exit(f"error: the server was ready after {took:.0f} s and has left nothing in {folder}: it does not compile")
print(f"ready after {took:.0f} s; {len(files)} files, {sum(map(os.path.getsize, files))} bytes in {folder}", flush=True)
"""


@dataclass(frozen=True)
class Making:
    """What a cache is made of: a model as its stack serves it, with its images by digest.

    Attributes:
        model: the model; it has a pool.
        image: the model's own image.
        traits: what its files say.
        adapters: its adapters' images, by their names.
        ranks: of these.
    """

    model: StackModel
    image: ImageReference
    traits: Traits = field(default_factory=Traits)
    adapters: Mapping[str, ImageReference] = field(default_factory=dict)
    ranks: Mapping[str, int] = field(default_factory=dict)

    @property
    def key(self) -> CacheKey:
        """What the cache will be for: as the program reckons what is served."""
        return predictor.cache_key(self.model, self.image.digest, self.traits, self.ranks)

    @property
    def env(self) -> list[JSON]:
        """The server's variables whose values are texts: Secrets are in the models' namespace, and not in the key."""
        known = compile_cache.texts(predictor.variables(self.model))
        return [{"name": name, "value": value} for name, value in known.items()]

    @property
    def folder(self) -> str:
        """Where the server leaves what it compiles."""
        return compile_cache.folder({one["name"]: one["value"] for one in self.env})

    @property
    def is_below_tmp(self) -> bool:
        """Whether that is in the folder that servers may write to anyway."""
        return self.folder.startswith(f"{_TMP}/")

    @property
    def packed(self) -> str:
        """The same folder, where the packer's container has it."""
        return _MADE + (self.folder.removeprefix(_TMP) if self.is_below_tmp else "")

    @property
    def volumes(self) -> list[JSON]:
        """What the server's container has: images, memory, and where it writes."""
        return [
            {"name": "weights", "image": {"reference": str(self.image), "pullPolicy": "IfNotPresent"}},
            *(adapters.volume(name, str(one)) for name, one in self.adapters.items()),
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": self.model.shm}},
            {"name": "server-tmp", "emptyDir": {}},
            {"name": "made", "emptyDir": {}},
        ]

    @property
    def packs_from(self) -> JSON:
        """The volume of that folder, for the packer's container."""
        return {"name": "server-tmp" if self.is_below_tmp else "made", "mountPath": _MADE, "readOnly": True}

    @property
    def container(self) -> JSON:
        """The server's container."""
        model = self.model
        mounts: list[JSON] = [
            {"name": "weights", "mountPath": model.delivery.platform.mount, "subPath": IMAGE_ROOT, "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the container's own
            {"name": "server-tmp", "mountPath": _TMP},
        ]
        mounts += map(adapters.mount, self.adapters)
        mounts += [] if self.is_below_tmp else [{"name": "made", "mountPath": self.folder}]
        patience = str(model.settings.startup_timeout)
        amounts = model.scheduling.amounts
        return {
            "name": SERVER,
            "image": model.server_image,
            "command": ["python3", "-c", _UNTIL_READY, str(vllm.PORT), patience, self.folder, *vllm.COMMAND],
            "args": [*vllm.ARGS, *predictor.arguments(model, self.traits, self.ranks)],
            "env": self.env,
            "resources": {"requests": amounts, "limits": amounts},
            "securityContext": {**vllm.SECURITY_CONTEXT, "readOnlyRootFilesystem": True},
            "volumeMounts": mounts,
            **vllm.LAST_WORDS,
        }


@dataclass(frozen=True)
class CacheJob(PackJob):
    """The Job: one pod, on the model's nodes whatever the `place` says; `arguments` are those of this module."""

    making: Making = field(kw_only=True)

    @property
    def _kind(self) -> str:
        return "cache"

    @property
    def _made_of(self) -> list[Any]:
        return [*super()._made_of, self.making.key.written(), self.making.container, self._on]

    @property
    def _on(self) -> JSON:
        return self.making.model.scheduling.on()

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers that a pod runs, one after the other; the last tells the result."""
        return (SERVER, CONTAINER)

    @property
    def words(self) -> Words:
        """What a person is told of it."""
        key = self.making.model.key
        return Words(
            begun=f"the server of {key} starts on its nodes, and what it compiles is packed",
            unit="caches packed",
            left="nothing was packed",
            late="give more time (--timeout): a node comes, both images are pulled, the server starts and compiles",
            again=f"see to it that {key} starts where it is served (`oms check`), then run the same again",
            remedies=(
                (
                    r"pull|InvalidImageName",
                    "check that the nodes may pull the server's, the model's and the step's image (--step-image): the "
                    "pull secrets of the models' namespace are not there; --service-account names one that has some",
                ),
                (r"CreateContainer|secret", "make the Secret that --registry-secret names in the Job's namespace"),
                (r"serviceaccount", "make the account that --service-account names in the Job's namespace"),
                (
                    r"no node|has no node|quota|usage per",
                    f"free a GPU of the pool, as `oms pause --model {key}` does, raise its maxNodes, or wait",
                ),
            ),
        )

    @property
    def job(self) -> JSON:
        """The Job, suspended: what its pods need is made after it, so that it goes with it."""
        made = super().job
        # A server that does not start does not start the next time either; a node that goes is no failure of it.
        failed = {"containerName": SERVER, "operator": "NotIn", "values": [0]}
        rules = made["spec"]["podFailurePolicy"]["rules"]
        rules.sort(key=lambda rule: rule["action"] != "Ignore")
        rules.append({"action": "FailJob", "onExitCodes": failed})
        return made

    @property
    def _pod(self) -> JSON:
        made = super()._pod
        made["initContainers"] = [self.making.container]
        made["volumes"] += self.making.volumes
        # One user for both, who can read what the server has written; the group is the image's, as where it is served.
        made["securityContext"]["runAsUser"] = vllm.UID
        del made["securityContext"]["runAsGroup"]
        return {**made, **self._on}

    @property
    def _container(self) -> JSON:
        made = super()._container
        made["volumeMounts"].append(self.making.packs_from)
        return made


def arguments(making: Making, destination: str) -> dict[str, Any]:
    """What the packer is told in the pod, for `PackJob.arguments`."""
    key = making.key.model_dump()
    platform = making.model.runs_on
    return {"compile_cache": {"folder": making.packed, "destination": destination, "key": key, "platform": platform}}
