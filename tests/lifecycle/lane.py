"""One stack, taken through transitions of its models under streams of requests."""

import contextlib
import copy
import json
import logging
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from oci_model_serving.outputs import ModelOutput
from smoke import scaling
from tests.e2e.stack import Stack
from tests.integration import cluster, controllers, webhook
from tests.lifecycle.report import Measured
from tests.lifecycle.stream import Address, Pace, Stream
from watch.kube import KubeApi
from watch.pods import is_ready

JSON = dict[str, Any]
Objects = dict[tuple[str, str, str], JSON]
"""By kind, namespace and name."""
SECONDS = 150
_LOG = logging.getLogger(__name__)
_KINDS = {
    "InferenceService": "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices",
    "Model": "/apis/kubeai.org/v1/namespaces/{}/models",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Pod": "/api/v1/namespaces/{}/pods",
}
_NAMES_A_MODEL = ("oci-model-serving/model", "serving.kserve.io/inferenceservice", "model")
"""Labels whose value is a model's name."""


class Asked(Enum):
    """When a transition's models are asked."""

    THROUGHOUT = "before it, during it and after it"
    UNTIL = "until it begins; what is in flight then is still to be answered"
    SINCE = "from the moment at which it says that it is done"


class Lane:
    """A stack with one or two models, its platforms' controllers, and what was measured of it.

    Attributes:
        models: the settings `models`, as the next `up` writes them.
        cells: what was measured, in order.
    """

    def __init__(
        self, delivery: str, admin: Path, prefix: str, settings: JSON, stack: Stack, pace: Pace | None = None
    ) -> None:
        self.delivery = delivery
        self.models: dict[str, JSON] = {}
        self.cells: list[Measured] = []
        self._stack, self._settings, self._admin = stack, settings, admin
        self._pace = pace or Pace()
        self._namespaces = {"kserve": prefix, "kubeai": f"{prefix}-kubeai"}
        self._api = KubeApi(admin)
        self._values: JSON = {}
        self._streams: dict[str, Stream] = {}
        self._serving: dict[str, Address] = {}

    @contextlib.contextmanager
    def playing(self) -> Iterator[None]:
        """Play the platforms in the lane's own namespaces, and remove what is left at the end."""
        names = self._namespaces
        with (
            webhook.pod_webhook(self._admin, names["kserve"]),
            controllers.playing(self._admin, kserve=names["kserve"], kubeai=names["kubeai"], values=self._values),
        ):
            try:
                yield
            finally:
                for stream in self._streams.values():
                    stream.close()
                for namespace in names.values():
                    self._api.delete(f"/api/v1/namespaces/{namespace}")
                # The pods go while somebody still plays their platform, as the finalizers want it.
                cluster.wait_for(lambda: not any(kind == "Pod" for kind, *_ in self._objects()), SECONDS)
                self._api.close()

    # What is done

    def up(self) -> None:
        """Deploy the settings; KubeAI's chart before the models, as the program has it."""
        self._stack.configure({**self._settings, "models": copy.deepcopy(self.models)})
        if any(model["delivery"] == "kubeai" for model in self.models.values()):
            self._values.update(self._stack.chart_values())
        self._stack.up()
        self._serving = {key: self._address(key) for key, model in self.models.items() if not model.get("paused")}

    def pause(self) -> None:
        """Run `oms pause`, or do as it does."""
        self._serving = {}
        if self._stack.oms("pause"):
            return
        model = self._deployed()["one"]
        scaling.pause(self._api, model)
        cluster.wait_for(lambda: not self._pods(model), SECONDS)
        self._stack.refresh(model)

    def resume(self) -> None:
        """Run `oms resume`, or do as it does."""
        if not self._stack.oms("resume"):
            model = self._deployed()["one"]
            scaling.resume(self._api, model)
            cluster.wait_for(lambda: any(map(is_ready, self._pods(model))), SECONDS)
            self._stack.refresh(model)
        self._serving = {"one": self._address("one")}

    def destroy(self) -> None:
        """Delete all that the stack has."""
        self.models = {}
        self._serving = {}
        self._stack.destroy(self._admin)

    def measure(
        self,
        transition: str,
        act: Callable[[], None],
        asked: Asked = Asked.THROUGHOUT,
        *,
        moves: dict[str, str] | None = None,
        pods: int | None = None,
    ) -> None:
        """Do something to the models, wait until their pods are those of the settings, and record it.

        Args:
            transition: name of the row.
            act: what is done.
            asked: when the models are asked.
            moves: keys of models that get another key; whoever asks for the one then asks for the other.
            pods: how many there are of each model afterwards; None: as many as the settings say.
        """
        before, moved = self._objects(), moves or {}
        for key, old in self._serving.items():
            new = moved.get(key, key)
            known = [self._address(new), old] if new in self.models else [old]
            # Once each: nobody asks the same address twice.
            self._stream(key).addresses = tuple(dict.fromkeys(known))
            if asked is not Asked.SINCE:
                self._stream(key).start()
        # What is in flight when it begins is part of it.
        time.sleep(0.5)
        for stream in self._streams.values():
            if asked is Asked.UNTIL:
                stream.stop()
        began, error, seconds, settled = time.monotonic(), "", 0.0, 0.0
        try:
            act()
            seconds = time.monotonic() - began
            if asked is not Asked.UNTIL:
                self._streams = {moved.get(key, key): stream for key, stream in self._streams.items()}
                for key, address in self._serving.items():
                    self._stream(key).addresses = (address,)
                    self._stream(key).start()
            cluster.wait_for(lambda: self._is_settled(pods), SECONDS)
            settled = time.monotonic() - began
        except (Exception, pytest.fail.Exception) as failed:  # noqa: BLE001 - kept, and asserted by the tests
            error = f"{type(failed).__name__}: {failed}"[:2000]
        time.sleep(1 if asked is not Asked.UNTIL else 0)
        for stream in self._streams.values():
            stream.stop()
        taken = [stream.taken() for stream in self._streams.values()]
        after = self._objects()
        cell = Measured(
            transition,
            self.delivery,
            round(seconds, 1),
            round(settled, 1),
            sum(count for count, _ in taken),
            [said for _, lost in taken for said in lost],
            _replaced(before, after),
            self._left(after),
            error,
        )
        self.cells.append(cell)
        _LOG.info("%s, %s: %s %s %s", self.delivery, transition, cell.shown, sorted({*cell.lost}), error)

    def _stream(self, key: str) -> Stream:
        if key not in self._streams:
            self._streams[key] = Stream(self._admin, self._pace)
        return self._streams[key]

    # What is seen

    def _deployed(self) -> dict[str, ModelOutput]:
        return dict(self._stack.outputs.models)

    def _address(self, key: str) -> Address:
        """Where a model of the settings answers."""
        if self.models[key]["delivery"] == "kubeai":
            return Address(self._namespaces["kubeai"], f"model-{key}", key)
        return Address(self._namespaces["kserve"], f"{key}-predictor", key)

    def _objects(self) -> Objects:
        """All objects of the lane's namespaces."""
        return {
            (kind, namespace, one["metadata"]["name"]): one
            for kind, path in _KINDS.items()
            for namespace in self._namespaces.values()
            for one in self._api.items(path.format(namespace))
        }

    def _pods(self, model: ModelOutput) -> list[JSON]:
        selector = model.serving.platform.pod_selector(model.name)
        return self._api.items(_KINDS["Pod"].format(model.namespace), labelSelector=selector)

    def _is_settled(self, pods: int | None) -> bool:
        """Whether each model has as many pods as it is to have, all of its revision, ready and not going."""
        deployed = self._deployed() if self.models else {}
        for key, settings in self.models.items():
            model = deployed[key]
            found = self._pods(model)
            wanted = 0 if settings.get("paused") else settings["replicas"]["min"]
            if len(found) != (wanted if pods is None else pods):
                return False
            if not all(is_ready(pod) and model.revision in json.dumps(pod) for pod in found):
                return False
            if any(pod["metadata"].get("deletionTimestamp") for pod in found):
                return False
        return True

    def _left(self, objects: Objects) -> list[str]:
        """What belongs to no model of the settings."""
        left = []
        for (kind, namespace, name), one in objects.items():
            labels = one["metadata"].get("labels") or {}
            owners = {labels[label] for label in _NAMES_A_MODEL if label in labels}
            if owners - self.models.keys():
                left.append(f"{kind} {namespace}/{name}")
        return left


def _replaced(before: Objects, after: Objects) -> dict[str, int]:
    """How many objects of each kind have another one of the same name in their place; of pods, how many new ones."""
    replaced: dict[str, int] = {}
    for (kind, *where), one in after.items():
        was = before.get((kind, where[0], where[1]))
        if kind != "Pod" and was and was["metadata"]["uid"] != one["metadata"]["uid"]:
            replaced[kind] = replaced.get(kind, 0) + 1
    pods = [{key for key in found if key[0] == "Pod"} for found in (before, after)]
    gone, new = len(pods[0] - pods[1]), len(pods[1] - pods[0])
    if min(gone, new):
        replaced["Pod"] = min(gone, new)
    return replaced
