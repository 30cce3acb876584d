"""The variables that bring secrets to the packer. Needs the standard library only, as `build_step` does."""

from collections.abc import Mapping

HUB_TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable, huggingface_hub's
USERNAME_VARIABLE = "MODELIMAGE_USERNAME"
PASSWORD_VARIABLE = "MODELIMAGE_PASSWORD"  # noqa: S105 - the variable's name
SECRET_VARIABLES = frozenset({HUB_TOKEN, USERNAME_VARIABLE, PASSWORD_VARIABLE})
"""They are for the packer alone: nothing that it starts has them, and pods have them from Secrets."""


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What others that are started may have of an environment."""
    return {name: value for name, value in environment.items() if name not in SECRET_VARIABLES}
