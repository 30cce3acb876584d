"""The weights of the local stack: a folder of yours, or a tiny model that is made here."""

from pathlib import Path

from components.settings.places import LOCAL
from components.settings.stack_file import Project, StackConfig, find_project, read_config
from oci_model_serving.errors import InputError
from oci_model_serving.private import private_folder
from oms.convention import tell

_MODEL = ".local/model"
_TINY = ".local/tiny-model"


def prepared(
    stack: str, *, config_file: Path | None = None, given: Path | None = None, anew: bool = False
) -> tuple[Project, StackConfig]:
    """The project and what a stack says, with the weights where a model that has `source: .local/model` looks for them.

    Args:
        stack: its name.
        config_file: the file of its settings, where that is another.
        given: a folder of weights.
        anew: without `given` the weights are the tiny model again, whatever was given the last time. A folder that
            somebody has put there stays, and is told of. Who only looks leaves what is there.

    Raises:
        InputError: the settings are wrong, the given folder is none, or no model of the stack would use it.
    """
    project = find_project(Path.cwd())
    config = read_config(project, stack, config_file)
    if (project.folder / LOCAL).is_dir():
        private_folder(project.folder / LOCAL)  # an earlier version has left it open
    _prepare(project, stack, config, given, anew=anew)
    return project, config


def _prepare(project: Project, stack: str, config: StackConfig, given: Path | None, *, anew: bool) -> None:
    model, tiny = project.folder / _MODEL, project.folder / _TINY
    if _MODEL not in [one.get("source") for one in config.models.values()]:
        if given:
            raise InputError(f"MODEL={given} would not be used: no model of stack {stack!r} has source: {_MODEL}")
        return
    if given and not given.is_dir():
        raise InputError(f"MODEL={given} is no folder: name a folder of weights")
    if model.exists() and not model.is_symlink():
        if given:
            raise InputError(f"MODEL={given} would not be used: {_MODEL} is a folder of its own: move it away first")
        tell(f"the weights are those in {_MODEL}, a folder of its own")
        return
    if given is None:
        if model.exists() and not anew:
            return
        if model.exists() and model.resolve() != tiny.resolve():
            tell(f"the weights are the tiny model again; for those of before, MODEL={model.resolve()}")
        if not tiny.exists():
            from modelimage import write_tiny_model

            private_folder(tiny.parent)
            write_tiny_model(str(tiny))
            tell(f"made a tiny Qwen2 model with random weights in {_TINY}")
    private_folder(model.parent)
    model.unlink(missing_ok=True)
    model.symlink_to((given or tiny).resolve(), target_is_directory=True)
