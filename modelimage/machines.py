"""Which machines images are made for: their weights are the same, the base and the configuration differ."""

from oci_model_serving.errors import InputError

PLATFORMS = ("linux/amd64", "linux/arm64")
PLATFORM = PLATFORMS[0]
"""What is meant where nothing is said."""


def check_platform(text: str) -> None:
    """See that `--platform` names one that images are made for.

    Raises:
        InputError: it does not.
    """
    if text not in PLATFORMS:
        raise InputError(f"--platform {text}: give {' or '.join(PLATFORMS)}")
