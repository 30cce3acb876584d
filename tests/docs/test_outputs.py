"""docs/outputs.md and components/outputs.py say the same, in both directions."""

import inspect
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from oci_model_serving import outputs
from oci_model_serving.outputs import CONTRACT_VERSION, StackOutputs

DOCUMENT = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text()
MODELS = {
    name: model
    for name, model in inspect.getmembers(outputs, inspect.isclass)
    if issubclass(model, BaseModel) and not name.startswith("_") and model.__module__ == outputs.__name__
}
HEADINGS = {"Stack": "StackOutputs"}


def documented() -> dict[str, dict[str, tuple[str, str]]]:
    """Model -> key -> type and meaning, as the page's tables have them."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    for section in re.split(r"^## ", DOCUMENT, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section, re.MULTILINE)
        if rows:
            found[HEADINGS.get(title, title)] = {key: (type_, meaning) for key, type_, meaning in rows}
    return found


def spelled(annotation: Any) -> str:
    """A type as the page spells it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " \\| ".join(arguments)
    if origin in {Union, UnionType}:
        return " \\| ".join(spelled(argument) for argument in arguments)
    if origin in {dict, list}:
        return f"{origin.__name__}[{', '.join(spelled(argument) for argument in arguments)}]"
    if annotation is NoneType:
        return "null"
    if issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return str(annotation.__name__)


def test_every_part_of_the_contract_has_its_table() -> None:
    assert set(documented()) == set(MODELS)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_table_has_the_keys_in_their_types_and_nothing_else(name: str) -> None:
    expected = {}
    for key, field in MODELS[name].model_fields.items():
        # A kubeconfig that may be missing is missing or a text, never null.
        type_ = "str" if key == "kubeconfig" else spelled(field.annotation)
        expected[key] = type_ if field.is_required() else f"{type_}, ?"
    assert {key: type_ for key, (type_, _) in documented()[name].items()} == expected
    assert all(meaning.strip() for _, meaning in documented()[name].values())


def test_the_page_is_of_the_contracts_version() -> None:
    assert f"This page is contract version {CONTRACT_VERSION}." in DOCUMENT
    assert documented()["StackOutputs"]["contract_version"][1] == str(CONTRACT_VERSION)


def test_the_example_runs_against_a_stack() -> None:
    from offline.recording import record
    from tests.deployed import deploy

    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
    dev = deploy("dev")
    run = record(
        lambda: exec(compile(code, "docs/outputs.md", "exec"), {}),  # noqa: S102 - the page's own block
        stack_outputs={"acme/oci-model-serving/dev": dev.outputs},
    )
    assert run.outputs == {"url": dev.outputs["models"]["qwen2.5-0.5b-instruct"]["url"]}


def test_what_the_program_exports_passes_its_own_reader() -> None:
    from tests.deployed import deploy, outputs_of

    exported = outputs_of(deploy("dev"))
    assert set(exported) == set(StackOutputs.model_fields)
    read = outputs.parse(exported).model_dump()
    for model in read["models"].values():
        # Of the few models that name one (test_compile_cache.py).
        assert model.pop("compile_cache") is None
    assert read == exported
