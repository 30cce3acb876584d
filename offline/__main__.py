import sys

from oms.main import start

start(*([] if sys.argv[1:2] == ["diff"] else ["plan"]))
