"""The command line: `python -m offline`."""

import gc
import sys

# A short process that imports thousands of generated classes, all of which stay: collecting garbage on the way would
# take a third of its time.
gc.disable()

from offline.cli import main  # noqa: E402 - after the line above, since it imports them

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
