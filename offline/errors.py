"""What can go wrong in an offline run beyond wrong input."""

from oci_model_serving.errors import OmsError


class RunFailedError(OmsError):
    """Something that really ran (a model image's build) failed."""
