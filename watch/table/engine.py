"""The server's own failures, in its words: of its status or its log."""

from watch.complaints import Topic
from watch.containers import Whose
from watch.table.row import Row

ROWS = (
    Row(
        "out-of-memory",
        r"OOMKilled",
        "the server was killed for memory, of which it has {memory}: raise `models.NAME.resources.memory`, or lower "
        "--max-model-len in `models.NAME.args`",
        "tests/watch/statuses/out-of-memory.json",
        Topic.ENGINE,
        Whose.SERVER | Whose.OTHER,
    ),
    Row(
        "modelcar-out-of-memory",
        r"OOMKilled",
        "the modelcar was killed for memory, of which it has {memory}: raise `platforms.kserve.modelcar.memory`",
        "kserve-resources v0.20.0, values `memoryModelcar`: 15Mi",
        Topic.ENGINE,
        Whose.MODEL,
    ),
    Row(
        "unreadable-files",
        r"(?:Permission denied|PermissionError).*(?:/mnt/models|/model\b|/proc/)",
        "the server's user may not read the files (modelcar forces uid 1010): build the image with "
        "`oms image pack`, which makes them readable for all",
        "tests/watch/statuses/unreadable-files.json",
        Topic.ENGINE,
    ),
)
