"""``python -m modelimage``."""

import os
import sys

from modelimage.cli import INTERRUPTED, main

code = main()
if code == INTERRUPTED:
    # All is tidied up and told. A thread may hang in a read for minutes, and an ordinary exit would wait for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
