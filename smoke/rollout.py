"""The former name of `watch.rollout`, which is in the commands of states that an earlier version deployed."""

import sys

from watch.rollout import main

if __name__ == "__main__":
    sys.exit(main())
