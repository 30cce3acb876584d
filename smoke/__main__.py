import signal
import sys
from typing import NoReturn

from smoke.cli import main


def _terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


# CI and `timeout` end a command by SIGTERM: put back what is paused or made, as after Ctrl-C.
signal.signal(signal.SIGTERM, _terminate)
sys.exit(main())
