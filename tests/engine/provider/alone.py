"""Starts a provider of the tests with the protocol's messages, and without the SDK around them.

The engine starts each provider anew for each command, and `import pulumi` takes longer than all that these do. What is
put in its place has its folders, so that `pulumi.runtime.proto` is found, and none of its code.
"""

import importlib.util
import runpy
import sys
from pathlib import Path
from types import ModuleType


def main() -> None:
    """Run the provider; arguments are its own."""
    found = importlib.util.find_spec("pulumi")
    assert found is not None
    assert found.origin is not None
    root = Path(found.origin).parent
    for name, folder in (("pulumi", root), ("pulumi.runtime", root / "runtime")):
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    runpy.run_module("tests.engine.provider", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
