"""What only a build can tell, and what nothing then serves."""

import pulumi

from oci_model_serving.errors import OmsError


class UnservableError(OmsError, pulumi.RunError):
    """An image turned out to hold what its platform or server does not take; the message says what to do."""
