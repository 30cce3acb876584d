"""``python -m modelimage``."""

import sys

from modelimage.cli import main

sys.exit(main())
