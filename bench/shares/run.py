"""Pack a model by one pod and by several on the test node, each pod behind a line of its own rate, and print the table.

    python bench/shares/run.py --mb 600 --rate 20

The line of each pod is what a machine's is: all that it reads and all that it sends passes at `--rate` MB/s. The node
is one machine, so that its cores, and the registry's and the hub's, are shared; what the table shows is whether the
lines are used side by side, what a pod costs beside its bytes, and that all digests are one. It needs root and the test
cluster (make e2e builds it).
"""

import argparse
import json
import os
import random
import secrets
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from modelimage import pack  # noqa: E402 - the project's root is on the path only now
from modelimage.progress import Lines  # noqa: E402
from tests.e2e import step_image  # noqa: E402
from tests.hub import COMMIT, FakeHub  # noqa: E402
from tests.integration import cluster  # noqa: E402
from tests.weights import safetensors_bytes  # noqa: E402
from watch.cluster_build import pack_in_cluster  # noqa: E402
from watch.pack_job import PodPlace  # noqa: E402

MB = 1_000_000
SHARDS = 12


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mb", type=int, default=600, help="size of the model")
    parser.add_argument("--rate", type=int, default=20, help="MB/s of each pod's line, in and out")
    parser.add_argument("--pods", type=int, nargs="+", default=[1, 2, 3], help="numbers of pods to try")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, cluster.api_server(node=True) as admin, FakeHub() as hub:
        image = step_image.push(cluster.REGISTRY, "bench/step", Path(folder))
        _publish(hub, options.mb * MB)
        os.environ["HF_ENDPOINT"] = hub.address
        source = f"hf://org/name@{COMMIT}"
        expected = pack(source, f"oci:{folder}/whole", cache=Path(folder, "cache")).digest
        ports = [int(address.rpartition(":")[2]) for address in (cluster.REGISTRY, hub.address, hub.cdn)]
        print("| pods | s | MB sent | the same digest |\n|--:|--:|--:|---|")
        with cluster.namespace(admin, "bench") as namespace, step_image.reachable(*ports) as env:
            place = PodPlace(namespace, image=image, cpu="50m", memory="256Mi")
            place = replace(place, env={**env, "RATE": str(options.rate * MB)})
            _pull(place, admin)
            for pods in options.pods:
                # A repository of its own: nothing is there.
                destination = f"{cluster.REGISTRY}/bench/{secrets.token_hex(4)}"
                began = time.monotonic()
                made = pack_in_cluster(
                    source, destination, replace(place, pods=pods), kubeconfig=admin, reporter=Lines(sys.stderr)
                )
                seconds, same = time.monotonic() - began, "yes" if made.digest == expected else "NO"
                print(f"| {pods} | {seconds:.1f} | {made.uploaded_bytes / MB:.0f} | {same} |", flush=True)


def _pull(place: PodPlace, admin: Path) -> None:
    """Pack next to nothing, so that the node has the pods' image."""
    destination = f"{cluster.REGISTRY}/bench/{secrets.token_hex(4)}"
    pack_in_cluster(f"hf://org/small@{COMMIT}", destination, replace(place, pods=1), kubeconfig=admin)


def _publish(hub: FakeHub, size: int) -> None:
    generator = random.Random(1)  # noqa: S311 - test data
    one = generator.randbytes(size // SHARDS)
    files = {
        f"model-{n:05d}-of-{SHARDS:05d}.safetensors": safetensors_bytes(bytes([n]) + one[1:])
        for n in range(1, SHARDS + 1)
    }
    hub.add("org/small", {"config.json": b"{}"})
    index = {"weight_map": {str(number): name for number, name in enumerate(files)}}
    hub.add("org/name", {**files, "config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()})


if __name__ == "__main__":
    main()
