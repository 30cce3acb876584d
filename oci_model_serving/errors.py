"""The one base of the errors that people are meant to see: a complete message with its remedy, and an exit code."""

from oci_model_serving.foreign import lines


class OmsError(Exception):
    """Something failed; `str()` is the whole message for a person and never holds a secret.

    `exit_code` is what a command ends with: 1 for a failure, 2 for input that can never work.
    """

    exit_code = 1

    def __str__(self) -> str:
        return lines(super().__str__())


class InputError(OmsError, ValueError):
    """An argument, a setting or a file is wrong, whatever the network does. `problems` lists all that is wrong."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
