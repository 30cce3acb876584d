"""Who the pod is to its registry: what is mounted, else its Kubernetes service account by Google's metadata server.

google-auth would do the same with 20 MB of memory for each process, and is not in every server's image.
"""

import os
import time
import urllib.error
import urllib.request
from importlib.util import find_spec

from modelimage.credentials import Credential, Credentials
from modelimage.errors import ImageError
from oci_model_serving.foreign import is_header, read_json
from oci_model_serving.reference import is_google

_HOST = "metadata.google.internal"
_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"
_ANSWER_BYTES = 64 << 10
_SECONDS = 5.0
_WAITS = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Before each try: GKE's metadata server takes a few seconds to serve a new pod (GKE, "Workload Identity Federation",
limitations)."""


class PodCredentials(Credentials):
    """The credentials of a registry in a pod."""

    def from_google(self, *, refresh: bool) -> Credential | None:
        """A token of the pod's service account; None where nobody gives one."""
        if not is_google(self.host):
            return None
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS") and find_spec("google.auth"):
            return super().from_google(refresh=refresh)
        for wait in _WAITS:
            time.sleep(wait)
            try:
                token = _token()
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code != 429:
                    return None  # the pod has no account there
            except urllib.error.URLError as error:
                if isinstance(error.reason, OSError) and "Name" in str(error.reason):
                    return None  # no machine of Google's: nobody has that name
            except (OSError, ValueError, KeyError, TypeError):
                pass
            else:
                return Credential("oauth2accesstoken", token, source="Google's metadata server")
        raise ImageError(
            f"Google's metadata server gives no token for {self.host}: allow the pod's egress to it "
            "(169.254.169.252:988 and 169.254.169.254:80), and look whether the pool has Workload Identity"
        )


def _token() -> str:
    address = f"http://{os.environ.get('GCE_METADATA_HOST') or _HOST}{_PATH}"
    request = urllib.request.Request(address, headers={"Metadata-Flavor": "Google"})
    # No proxy is between a pod and its machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_SECONDS) as answer:
        token = read_json(answer.read(_ANSWER_BYTES))["access_token"]
    if not isinstance(token, str) or not token or not is_header(token):
        raise ValueError("no token")
    return token
