"""Typical changes of a stack, and the comments on them as committed in `comments/`.

`python -m tests.offline.typical_changes` (`make plans`) writes them anew. The stacks are this module's own, so that a
change of the committed ones leaves the comments alone.
"""

import copy
import json
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from components.settings.stack_file import StackConfig, find_project
from oci_model_serving.outputs import CONTRACT_VERSION
from offline.comment import as_markdown
from offline.diff import PlanDiff, compare
from offline.program import Program
from offline.revisions import NO_PLAN
from offline.values import dumps
from oms.plan import policy_of
from tests.serving import NAMESPACE, ROOT

FOLDER = Path(__file__).with_name("comments")
SOURCE = "hf://Qwen/Qwen2.5-0.5B-Instruct@7ae557604adf67be50417f59c2c2f167def9a775"
DEV = "acme/oci-model-serving/dev"
SERVER = "docker.io/vllm/vllm-openai"
Settings = dict[str, Any]


def image(digit: str) -> str:
    """An image of the model in dev's registry, by a digest of its own."""
    return f"us-central1-docker.pkg.dev/demo/models/qwen2-5-0-5b-instruct@sha256:{(digit + 'c4d2e6f') * 8}"


QWEN: Settings = {
    "digest": image("a"),
    "sizeGb": 1.1,
    "delivery": "modelcar",
    "nodePool": "l4",
    "replicas": {"min": 1, "max": 2},
    "args": ["--max-model-len=8192"],
}
STACK: Settings = {
    "target": "gke",
    "registry": {"create": {"repository": "models"}},
    "cluster": {"create": {"name": "demo", "channel": "REGULAR", "version": "1.35"}},
    "nodePools": {
        "l4": {
            "accelerator": "nvidia-l4",
            "zones": ["us-central1-a"],
            "bootDisk": {"sizeGb": 200, "type": "pd-balanced"},
            "maxNodes": 2,
        }
    },
    "platforms": {"kserve": {"version": "v0.20.0", "server": {"image": f"{SERVER}@sha256:{'1f' * 32}"}}},
    "models": {"qwen2.5-0.5b-instruct": QWEN},
}


def changed(**keys: Any) -> Settings:
    """The stack with other values at these places, as `models__qwen__env`; `qwen` is its model."""
    found = copy.deepcopy(STACK)
    for place, value in keys.items():
        *above, last = ("qwen2.5-0.5b-instruct" if key == "qwen" else key for key in place.split("__"))
        at = found
        for key in above:
            at = at[key]
        at[last] = value
    return found


def plan(stack: str, settings: Settings, dev: str = "") -> dict[str, Any]:
    """The plan of a stack in JSON; `dev` is the image that dev serves."""
    found: dict[str, Any] = json.loads(_planned(stack, json.dumps(settings), dev))
    return found


@cache
def _planned(stack: str, written: str, dev: str) -> str:
    settings: Settings = json.loads(written)
    values = {f"{NAMESPACE}:{key}": one if isinstance(one, str) else json.dumps(one) for key, one in settings.items()}
    config = StackConfig({"gcp:project": "demo", "gcp:region": "us-central1", **values}, frozenset())
    outputs = {DEV: _outputs(dev)} if dev else None
    return dumps(Program(find_project(ROOT), outputs).plan(stack, config).data())


def _outputs(reference: str) -> Mapping[str, Any]:
    served = {
        "image": reference,
        "digest": reference.partition("@")[2],
        "size_bytes": 1_100_000_000,
        "storage_uri": f"oci://{reference}",
        "name": "qwen2-5-0-5b-instruct",
        "served_name": "qwen2.5-0.5b-instruct",
        "delivery": "modelcar",
        "platform": "kserve",
        "namespace": "models",
        "paused": False,
        "traits": {},
        "url": "http://qwen2-5-0-5b-instruct-models.example.com",
    }
    return {"contract_version": CONTRACT_VERSION, "models": {"qwen2.5-0.5b-instruct": served}}


def _built() -> Settings:
    taken = {key: value for key, value in QWEN.items() if key != "digest"}
    return {**taken, "source": SOURCE}


def _two_models() -> Settings:
    second = {**QWEN, "digest": image("b").replace("qwen2-5-0-5b", "smollm2-360m"), "sizeGb": 0.8}
    return changed(models__smollm2=second, nodePools__l4__maxNodes=5)


def _promoting() -> Settings:
    taken = {key: value for key, value in QWEN.items() if key not in {"digest", "sizeGb"}}
    return changed(models__qwen={**taken, "fromStack": DEV, "copy": True}, nodePools__l4__maxNodes=4)


_Plan = dict[str, Any]
CHANGES: Mapping[str, Callable[[], tuple[Mapping[str, Any], _Plan]]] = {
    "new_digest": lambda: (
        plan("prod", changed(nodePools__l4__maxNodes=4)),
        plan("prod", changed(nodePools__l4__maxNodes=4, models__qwen__digest=image("b"))),
    ),
    "replicas": lambda: (plan("prod", STACK), plan("prod", changed(models__qwen__replicas={"min": 2, "max": 2}))),
    "gpu_type": lambda: (plan("prod", STACK), plan("prod", changed(nodePools__l4__accelerator="nvidia-tesla-t4"))),
    "machine": lambda: (plan("prod", STACK), plan("prod", changed(nodePools__l4__machineType="g2-standard-12"))),
    "new_model": lambda: (plan("prod", changed(nodePools__l4__maxNodes=5)), plan("prod", _two_models())),
    "model_removed": lambda: (plan("prod", _two_models()), plan("prod", changed(nodePools__l4__maxNodes=5))),
    "new_stack": lambda: (
        NO_PLAN,
        plan("dev", changed(models__qwen=_built())),
    ),
    "env_and_server": lambda: (
        plan("prod", STACK),
        plan(
            "prod",
            changed(
                models__qwen__env={"VLLM_LOGGING_LEVEL": "DEBUG"},
                platforms__kserve__server={"image": f"{SERVER}@sha256:{'2e' * 32}"},
            ),
        ),
    ),
    "promotion": lambda: (plan("prod", _promoting(), image("a")), plan("prod", _promoting(), image("b"))),
}
"""Plans before and after each change."""


@cache
def difference(name: str) -> PlanDiff:
    """What a change does."""
    return compare(*CHANGES[name]())


@cache
def comment(name: str) -> str:
    """The comment on a change, with the policy's verdict, as `oms diff` writes it."""
    found = difference(name)
    stack = str(found.head["stack"])
    return as_markdown(found, stack, policy_of(found.base, found.head, stack))


def path(name: str) -> Path:
    """The file of a change's comment."""
    return FOLDER / f"{name}.md"


def main() -> None:
    """Write all comments."""
    for name in CHANGES:
        path(name).write_text(comment(name), encoding="utf-8")
        print(path(name).relative_to(ROOT), file=sys.stderr)


if __name__ == "__main__":
    main()
