import os
import sys

from modelimage.stream import options, sidecar
from oci_model_serving.errors import InputError

try:
    chosen = options.read(sys.argv[1:])
except InputError as error:
    sys.exit(sidecar.end(str(error), error.exit_code))
# At once: nothing else may follow the last word, and no thread is waited for.
os._exit(sidecar.run(chosen))
