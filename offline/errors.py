"""The errors that the offline run answers with one message instead of a traceback."""


class OfflineError(Exception):
    """A run cannot go on; the message is complete and holds the remedy. `exit_code` is the process's answer."""

    exit_code = 1


class InputError(OfflineError):
    """The caller's input is wrong: an argument, a project file, a stack's settings, a reference to a stack."""

    exit_code = 2


class RunFailedError(OfflineError):
    """Something that really ran (a model image's build, an apply to a cluster) failed."""
