"""The plan as a tree for people."""

from typing import Any, TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from components.prediction import TITLES, UNSIZED
from oci_model_serving.foreign import lines, shown
from offline.plan import Plan
from offline.recording import Resource
from offline.telling import telling_inputs
from offline.values import is_known_after, plain

NOT_AN_ENGINE = "in-process run: nothing is deployed and no state is recorded"


def print_table(plan: Plan, stream: TextIO) -> None:
    """Write the tree of resources with their telling inputs, and the outputs below it."""
    # Only a terminal has a width to keep to: a digest that is wrapped in a file cannot be searched for.
    console = Console(
        file=stream, highlight=False, markup=False, emoji=False, width=None if stream.isatty() else 10_000
    )
    tree = Tree(Text(f"{plan.project} {plan.stack}", style="bold").append(f"  ({NOT_AN_ENGINE})", style="dim"))
    _grow(tree, plan.children(), "")
    console.print(tree)
    _print_prediction(plan, console)
    if plan.recording.outputs:
        outputs = Tree(Text("outputs", style="bold"))
        _grow_value(outputs, plain(plan.recording.outputs))
        console.print(outputs)


def _print_prediction(plan: Plan, console: Console) -> None:
    if plan.prediction.starts:
        table = Table(title="cold start, predicted", title_justify="left", box=SIMPLE)
        for title in ("model", "node", *TITLES.values(), "total", "bound by", "what helps most"):
            table.add_column(title, overflow="fold")
        for key, start in plan.prediction.starts.items():
            table.add_row(shown(key), *map(shown, start.cells))
        console.print(table)
    if plan.prediction.profiles:
        table = Table(title="how servers are started", title_justify="left", box=SIMPLE)
        for title in ("model", "what", "becomes", "because", "instead"):
            table.add_column(title, overflow="fold")
        for key, profile in plan.prediction.profiles.items():
            for one in profile.choices:
                table.add_row(*map(shown, (key, one.what, one.value, one.reason, one.instead)))
        console.print(table)
    for key, chosen in plan.prediction.deliveries.items():
        console.print(Text(shown(f"{key}: "), style="bold").append(lines(chosen.text), style="not bold"))
    for key, fit in plan.prediction.fits.items():
        console.print(Text(shown(f"{key}: "), style="bold").append(lines(str(fit)), style="not bold"))
    for key in plan.prediction.unsized:
        console.print(Text(shown(f"{key}: {UNSIZED}")))
    if plan.prediction.cost:
        console.print(Text("cost  ", style="bold").append(plan.prediction.cost.text, style="not bold"))


def short_type(type_: str) -> str:
    """A type token as people say it: `gcp:container/nodePool:NodePool` is `gcp:container:NodePool`."""
    package, _, rest = type_.partition(":")
    module, _, kind = rest.rpartition(":")
    if package in {"oci-model-serving", "kubernetes"}:
        return kind
    return ":".join(part for part in (package, module.split("/")[0], kind) if part and part != "index")


def _grow(tree: Tree, children: dict[str, list[Resource]], parent: str) -> None:
    for resource in children[parent]:
        label = Text()
        label.append(short_type(resource.type), style="bold cyan" if resource.component else "cyan")
        label.append(shown(f" {resource.name}"))
        for name, value in telling_inputs(resource).items():
            label.append(f"  {name}=", style="dim").append(_text(value))
        _grow(tree.add(label), children, resource.urn)


def _grow_value(tree: Tree, value: Any) -> None:
    for name, item in enumerate(value) if isinstance(value, list) else value.items():
        if isinstance(item, dict | list) and item:
            _grow_value(tree.add(Text(shown(str(name)))), item)
        else:
            tree.add(Text(shown(f"{name}: ")).append(_text(item)))


def _text(value: Any) -> Text:
    if is_known_after(value):
        return Text(f"<{value}>", style="yellow")
    return Text(str(value).lower() if isinstance(value, bool) else lines(str(value)))
