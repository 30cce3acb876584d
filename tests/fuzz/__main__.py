"""`python -m tests.fuzz COUNT [KIND ...]`: inputs number 0 to COUNT of each kind, of the seed in FUZZ_SEED (default 0).

One JSON object on stdout: the failures, the seconds of each kind, and the most memory that the process had, in bytes.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

from tests.fuzz.kinds import KINDS, failure

_FAILURES = 20


def main(count: int, kinds: list[str]) -> int:
    seed = int(os.environ.get("FUZZ_SEED", "0"))
    failures: list[str] = []
    seconds: dict[str, float] = {}
    for kind in kinds:
        began = time.process_time()
        found = [said for number in range(count) if (said := failure(kind, seed, number))]
        seconds[kind] = round(time.process_time() - began, 2)
        failures += found[:_FAILURES] + [f"{kind}: and {len(found) - _FAILURES} more"] * (len(found) > _FAILURES)
    print(json.dumps({"failures": failures, "seconds": seconds, "memory_bytes": _most_memory()}))
    return bool(failures)


def _most_memory() -> int:
    """In bytes, of this program: what getrusage tells begins with what the process was before, a whole test run."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(most.split()[1]) << 10


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:] or list(KINDS)))
