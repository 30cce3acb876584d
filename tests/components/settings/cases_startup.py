"""How long a model may take until it is ready, against how long its pull is predicted to take."""

from __future__ import annotations

from tests.components.settings.cases_fit import pool
from tests.components.settings.stacks import Bad, Good

_PATH = "models.qwen.startupTimeout"
_LARGE = {**pool("nvidia-l4", 8, bootDisk={"sizeGb": 400, "type": "pd-balanced"}), "models.qwen.sizeGb": 141}

BAD = [
    Bad("five minutes for 141 GB", {**_LARGE, _PATH: 300}, path=_PATH, words=("141 GB", "write at least")),
    Bad(
        "less than a pd-balanced needs",
        {**_LARGE, _PATH: 1200},
        path=_PATH,
        words=("bound by pd-balanced",),
        warned=True,
    ),
    *(
        Bad(
            f"a disk of type {kind}, whose speed nobody asks for",
            {"nodePools.l4.bootDisk": {"type": kind}, "models.qwen.sizeGb": 16},
            path="nodePools.l4.bootDisk",
            words=(kind, "g2-standard"),
        )
        for kind in ("pd-extreme", "hyperdisk-extreme", "hyperdisk-throughput")
    ),
    Bad("a minute on a new node", {_PATH: 60}, path=_PATH, words=("is 60 s",), warned=True),
]
GOOD = [
    Good("an hour for 141 GB", {**_LARGE, _PATH: 3600}),
    Good("five minutes for a small one", {_PATH: 600}),
]
